# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ports of the components besides the API server's, which the description gives. They are Airflow's own defaults."""

from __future__ import annotations

SCHEDULER_HEALTH_PORT = 8974
TRIGGERER_LOG_PORT = 8794
WORKER_LOG_PORT = 8793
