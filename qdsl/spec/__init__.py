"""Words every floor shares: number types, quantization schemes, units. Standard library only."""

from qdsl.spec.dtypes import DTYPES, DType, dtype_named
from qdsl.spec.naming import DISTRIBUTION, install_extra
from qdsl.spec.scheme import UNGUARDED, Granularity, Guard, Scheme, WeightKey
from qdsl.spec.units import UNITS, Quantity, UnitInfo

__all__ = [
    "DISTRIBUTION",
    "DTYPES",
    "UNGUARDED",
    "UNITS",
    "DType",
    "Granularity",
    "Guard",
    "Quantity",
    "Scheme",
    "UnitInfo",
    "WeightKey",
    "dtype_named",
    "install_extra",
]
