# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The DAG bundle over releases on a shared filesystem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from airflow_backbone.storage import Release, current_release, pinned_release


class ReleaseDagBundle(BaseDagBundle):
    """One source's releases as a versioned DAG bundle.

    ``version`` is a release's name. With it (a worker running a task), the bundle is that release for good; without it
    (the DAG processor), the bundle is the release that ``current`` named at the last :meth:`initialize` or
    :meth:`refresh`.

    :param storage: the DAG storage's path on this host
    :param source: the source's directory in it; the bundle's name by default
    :param kwargs: as in every bundle: ``name``, ``version``, ``refresh_interval``, ``view_url_template``
        (``{version}`` is the release's name)
    """

    supports_versioning = True

    def __init__(self, *, storage: str, source: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.storage = Path(storage)
        self.source = source or self.name
        self._release: Release | None = None

    def initialize(self) -> None:
        self._release = self._resolve()
        super().initialize()

    def refresh(self) -> None:
        """Take up what ``current`` names now.

        :raises StorageAbsent: the storage is not mounted any more
        :raises ReleaseAbsent: the source has no current release any more

        The DAG processor logs either, keeps the files that it knows, and tries again. With the default
        ``[dag_processor] file_parsing_sort_mode`` it passes over those that are missing, so that no DAG becomes stale.
        """
        self._release = self._resolve()

    def get_current_version(self) -> BundleVersion:
        release = self._resolved()
        known = {key: release.metadata[key] for key in ("commit", "tree") if release.metadata.get(key)}
        return BundleVersion(version=release.name, data=known or None)

    @property
    def path(self) -> Path:
        return self._resolved().path

    def _resolve(self) -> Release:
        if self.version:
            return pinned_release(self.storage, self.source, self.version)
        return current_release(self.storage, self.source)

    def _resolved(self) -> Release:
        if self._release is None:
            self._release = self._resolve()
        return self._release
