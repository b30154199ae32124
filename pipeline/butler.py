"""Rubin's Butler, which also takes a visit where a dataset belongs to an exposure.

An HSC visit is one exposure, with the same number; scripts of 2019 name the
visit. Since then LSST's detector images belong to exposures, and Rubin's own
Butler only says that it has no value for ``exposure``.
"""

from __future__ import annotations

from typing import Any

from pipeline.overlay import activate

activate()  # before LSST's packages define their storage classes

import lsst.daf.butler as daf_butler  # noqa: E402
from lsst.daf.butler.direct_butler import DirectButler  # noqa: E402

__all__ = ["Butler"]


class Butler(DirectButler):
    """``lsst.daf.butler.Butler``, with the same arguments and methods.

    `get`, `getDeferred` and `find_dataset` also take ``visit=`` for a dataset
    with the dimension exposure, if one exposure belongs to the visit.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> daf_butler.Butler:  # type: ignore[misc] # as upstream's
        """Open a repository; see `from_config`."""
        return cls.from_config(*args, **kwargs)

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> daf_butler.Butler:
        """Open a repository.

        Parameters
        ----------
        *args, **kwargs
            Those of ``lsst.daf.butler.Butler.from_config``.

        Returns
        -------
        butler : `lsst.daf.butler.Butler`
            Of this class, unless the repository is behind a Butler server.
        """
        butler = daf_butler.Butler.from_config(*args, **kwargs)
        return _adopt(butler, cls)

    def clone(self, **kwargs: Any) -> Any:
        """Return a Butler with other defaults."""
        return _adopt(super().clone(**kwargs), type(self))

    def get(self, dataset: Any, /, dataId: Any = None, **kwargs: Any) -> Any:
        """Read a dataset, as ``lsst.daf.butler.Butler.get``."""
        dataId, kwargs = self._name_exposure(dataset, dataId, kwargs)
        return super().get(dataset, dataId, **kwargs)

    def getDeferred(self, dataset: Any, /, dataId: Any = None, **kwargs: Any) -> Any:
        """Prepare to read a dataset, as ``lsst.daf.butler.Butler.getDeferred``."""
        dataId, kwargs = self._name_exposure(dataset, dataId, kwargs)
        return super().getDeferred(dataset, dataId, **kwargs)

    def find_dataset(self, dataset_type: Any, data_id: Any = None, **kwargs: Any) -> Any:
        """Find a dataset, as ``lsst.daf.butler.Butler.find_dataset``."""
        data_id, kwargs = self._name_exposure(dataset_type, data_id, kwargs)
        return super().find_dataset(dataset_type, data_id, **kwargs)

    def _name_exposure(self, dataset: Any, data_id: Any, names: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Replace a visit by its exposure if it stands for that.

        Raises
        ------
        lsst.daf.butler.DimensionNameError
            If the visit has no exposure, or several.
        """
        given = {**(data_id if isinstance(data_id, dict) else {}), **names}
        if "visit" not in given or any(str(name).startswith("exposure") for name in given):
            return data_id, names
        dataset_type = self.get_dataset_type(dataset) if isinstance(dataset, str) else dataset
        dimensions = getattr(dataset_type, "dimensions", ())
        if "exposure" not in dimensions or "visit" in dimensions:
            return data_id, names
        where = {name: given[name] for name in ("instrument", "visit") if name in given}
        exposures = [
            record.id for record in self.query_dimension_records("exposure", data_id=where, explain=False)
        ]
        if len(exposures) != 1:
            raise daf_butler.DimensionNameError(
                f"{dataset_type.name} belongs to an exposure. {self._explain_visit(where, len(exposures))}"
            )
        if isinstance(data_id, dict):
            data_id = {name: value for name, value in data_id.items() if name != "visit"}
        rest = {name: value for name, value in names.items() if name != "visit"}
        return data_id, {**rest, "exposure": exposures[0]}

    def _explain_visit(self, where: dict[str, Any], count: int) -> str:
        """Say why a visit does not stand for one exposure."""
        visit = where.pop("visit")
        if count:
            return f"Visit {visit} has {count} of them; write exposure=... instead of visit={visit}."
        if self.query_dimension_records("exposure", data_id={**where, "exposure": visit}, explain=False):
            return (
                f"Visit {visit} is not defined in this repository: run `butler define-visits REPO HSC`, or "
                f"write exposure={visit} instead of visit={visit}."
            )
        return (
            f"This repository has no exposure of visit {visit}; `butler query-dimension-records REPO "
            "exposure` lists what is there."
        )


def _adopt(butler: daf_butler.Butler, cls: type) -> daf_butler.Butler:
    """Give a Butler that upstream has made our methods."""
    if type(butler) is DirectButler:
        butler.__class__ = cls
    return butler
