"""What this team's DAGs share."""
