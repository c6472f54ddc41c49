"""The canonical model: the vocabulary in which every part of gridparley speaks (DESIGN section 4).

Frozen, protocol-free, and free of I/O. Power is integer W, consumption positive, averaged over the ISP; energy is Wh;
money is `Decimal` with an ISO 4217 currency; time is UTC-aware, and local market time exists only through
`MarketCalendar`.
"""

from dataclasses import is_dataclass as _is_dataclass

from datamodels.calendar import (
    MarketCalendar,
)
from datamodels.dispatch import (
    Dispatch,
    DispatchInterval,
    DispatchKind,
    DispatchStatus,
    DispatchUpdate,
)
from datamodels.market import (
    Disposition,
    FlexCall,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    MarketMessage,
    OfferOption,
    OfferRevocation,
    Prognosis,
    PrognosisKind,
    RequestIsp,
    Reservation,
    TradeState,
)
from datamodels.messages import (
    Acknowledgement,
    Head,
)
from datamodels.metering import (
    Metering,
    MeteringKind,
    MeterProfile,
    Quality,
    Quantity,
    Telemetry,
)
from datamodels.parties import (
    BaselineMethod,
    CongestionPoint,
    Connection,
    Contract,
    MarketTerms,
    Participant,
    ParticipantKey,
    ParticipantStatus,
    Prosumer,
    RedispatchBy,
    Role,
    SettlementBasis,
)
from datamodels.portfolio import (
    AgrView,
    ConnectedAt,
    ConnectionPeriod,
    DsoView,
    PointPeriod,
    PointView,
    PortfolioView,
)
from datamodels.problems import (
    Loss,
    Problem,
    Severity,
)
from datamodels.profiles import (
    PROFILES,
    ProfileLimits,
    limits_of,
)
from datamodels.reference import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    ReferenceMessage,
)
from datamodels.resources import (
    Alternative,
    Binding,
    Consequence,
    EnvelopeInterval,
    Flexibility,
    Mode,
    OperationModes,
    PowerEnvelope,
    PowerProfile,
    Resource,
    ResourceKind,
    ResourceRole,
    Storage,
    StorageTarget,
    Transition,
)
from datamodels.serial import (
    decode,
    dumps,
    encode,
    loads,
)
from datamodels.serial import register as _register
from datamodels.series import (
    IspSeries,
    Run,
    check_spans,
)
from datamodels.settlement import (
    ContractDay,
    ContractIsp,
    ContractSettlement,
    Settlement,
    SettlementIsp,
    SettlementRow,
    settle_isp,
    settle_order,
)
from datamodels.signals import (
    GridSignal,
    SignalInterval,
    SignalKind,
    SignalTarget,
    TargetKind,
)
from datamodels.validation import (
    validate,
)

__all__ = [
    "PROFILES",
    "Acknowledgement",
    "AgrPortfolioQuery",
    "AgrPortfolioUpdate",
    "AgrView",
    "Alternative",
    "BaselineMethod",
    "Binding",
    "CongestionPoint",
    "ConnectedAt",
    "Connection",
    "ConnectionPeriod",
    "Consequence",
    "Contract",
    "ContractDay",
    "ContractIsp",
    "ContractSettlement",
    "Dispatch",
    "DispatchInterval",
    "DispatchKind",
    "DispatchStatus",
    "DispatchUpdate",
    "Disposition",
    "DsoPortfolioQuery",
    "DsoPortfolioUpdate",
    "DsoView",
    "EnvelopeInterval",
    "FlexCall",
    "FlexOffer",
    "FlexOrder",
    "FlexRequest",
    "Flexibility",
    "GridSignal",
    "Head",
    "IspSeries",
    "Loss",
    "MarketCalendar",
    "MarketMessage",
    "MarketTerms",
    "MeterProfile",
    "Metering",
    "MeteringKind",
    "Mode",
    "OfferOption",
    "OfferRevocation",
    "OperationModes",
    "Participant",
    "ParticipantKey",
    "ParticipantStatus",
    "PointPeriod",
    "PointView",
    "PortfolioView",
    "PowerEnvelope",
    "PowerProfile",
    "Problem",
    "ProfileLimits",
    "Prognosis",
    "PrognosisKind",
    "Prosumer",
    "Quality",
    "Quantity",
    "RedispatchBy",
    "ReferenceMessage",
    "RequestIsp",
    "Reservation",
    "Resource",
    "ResourceKind",
    "ResourceRole",
    "Role",
    "Run",
    "Settlement",
    "SettlementBasis",
    "SettlementIsp",
    "SettlementRow",
    "Severity",
    "SignalInterval",
    "SignalKind",
    "SignalTarget",
    "Storage",
    "StorageTarget",
    "TargetKind",
    "Telemetry",
    "TradeState",
    "Transition",
    "check_spans",
    "decode",
    "dumps",
    "encode",
    "limits_of",
    "loads",
    "settle_isp",
    "settle_order",
    "validate",
]

_register(*(v for v in list(globals().values()) if isinstance(v, type) and _is_dataclass(v)))
