# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model.view_url import view_url_template

RELEASE = "3f9c1b7a2d40-0123456789abcdef"
COMMIT = "3f9c1b7a2d40"


def link(repository: str | None, template: str | None = None) -> str | None:
    """What Airflow shows for a release: models/dagbundle.py formats the template with `version`."""
    made = view_url_template(repository, template)
    return made and made.format(version=RELEASE)


@pytest.mark.parametrize(
    ("repository", "page"),
    [
        ("https://github.com/acme/dags.git", "https://github.com/acme/dags/commit/"),
        ("https://github.com/acme/dags", "https://github.com/acme/dags/commit/"),
        ("https://github.com/acme/dags/", "https://github.com/acme/dags/commit/"),
        ("https://GitHub.com/acme/dags.git/", "https://github.com/acme/dags/commit/"),
        ("https://someone:a-token@github.com/acme/dags.git", "https://github.com/acme/dags/commit/"),
        ("git@github.com:acme/my.dags.git", "https://github.com/acme/my.dags/commit/"),
        ("github.com:acme/dags", "https://github.com/acme/dags/commit/"),
        ("ssh://git@github.com/acme/dags.git", "https://github.com/acme/dags/commit/"),
        ("ssh://git@ssh.github.com:443/acme/dags.git", "https://github.com/acme/dags/commit/"),
        ("https://gitlab.com/acme/data/etl.git", "https://gitlab.com/acme/data/etl/-/commit/"),
        ("git@gitlab.com:acme/data/etl.git", "https://gitlab.com/acme/data/etl/-/commit/"),
        ("ssh://git@altssh.gitlab.com:443/acme/etl.git", "https://gitlab.com/acme/etl/-/commit/"),
        ("https://someone@bitbucket.org/acme/dags.git", "https://bitbucket.org/acme/dags/commits/"),
        ("git@bitbucket.org:acme/dags.git", "https://bitbucket.org/acme/dags/commits/"),
    ],
)
def test_the_page_of_a_commit_is_known_for_the_large_hosts(repository: str, page: str) -> None:
    assert link(repository) == page + COMMIT


@pytest.mark.parametrize(
    "repository",
    [
        None,
        "",
        "https://git.example.com/etl/dags.git",
        "git@git.example.com:etl/dags.git",
        "https://github.com.example.com/acme/dags.git",
        "https://example.com/github.com/acme/dags.git",
        "https://github.com/acme",
        "https://github.com/{version}/dags",
        "https://github.com/acme/a b",
        "https://[github.com/acme/dags",
        "file:///srv/github.com/acme/dags.git",
        "/srv/git/dags.git",
    ],
)
def test_of_other_places_no_page_is_known(repository: str | None) -> None:
    assert view_url_template(repository, None) is None


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("https://git.example.com/etl/-/commit/{commit}", f"https://git.example.com/etl/-/commit/{COMMIT}"),
        ("http://git:3000/r?c={commit}&p=a%20b%7B", f"http://git:3000/r?c={COMMIT}&p=a%20b%7B"),
        ("https://git.example.com/{commit}/{commit}", f"https://git.example.com/{COMMIT}/{COMMIT}"),
    ],
)
def test_a_template_of_ones_own_wins(template: str, shown: str) -> None:
    assert link("https://github.com/acme/dags.git", template) == shown
    assert link(None, template) == shown


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "begin with http"),
        ("javascript:alert('{commit}')", "begin with http"),
        ("git.example.com/{commit}", "begin with http"),
        ("https:///{commit}", "begin with http"),
        ("https://git.example.com/a b/{commit}", "no blanks"),
        ("https://git.example.com/{commit}\n", "no blanks"),
        ("https://git.example.com/", "where the commit goes"),
        ("https://git.example.com/{version}", "where the commit goes"),
        ("https://git.example.com/{commit}/{version}", "only thing in braces"),
        ("https://git.example.com/{commit}/{{x}}", "only thing in braces"),
        ("https://git.example.com/{{commit}}", "only thing in braces"),
        ("https://git.example.com/{commit}}", "only thing in braces"),
    ],
)
def test_a_template_that_airflow_could_not_fill_is_refused(template: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        view_url_template("https://github.com/acme/dags.git", template)


def test_a_version_that_is_none_does_not_break_the_answer() -> None:
    made = view_url_template("https://github.com/acme/dags.git", None)
    assert made is not None
    assert made.format(version=None) == "https://github.com/acme/dags/commit/None"


@given(st.text())
def test_no_address_breaks_the_deriving_nor_the_filling(repository: str) -> None:
    made = view_url_template(repository, None)
    assert made is None or made.format(version=RELEASE).endswith(COMMIT)


@given(st.text())
def test_a_template_is_refused_in_words_or_can_be_filled(template: str) -> None:
    try:
        made = view_url_template(None, f"https://git.example.com/{template}{{commit}}")
    except ValueError:
        return
    assert made is not None
    assert made.format(version=RELEASE).endswith(COMMIT)
