"""Power flow of a low-voltage net with power-grid-model, in batches.

The net comes as the JSON tables of a SimBench extract; units are in the key names. Loading of the transformer is the
larger apparent power of its two sides over its rating.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    WindingType,
    initialize_array,
)

__all__ = ["Flow", "Grid"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Flow:
    """Results per step: transformer P, Q (positive into the net) and |S|, bus voltage and line loading."""

    trafo_p_kw: Floats
    trafo_q_kvar: Floats
    trafo_loading: Floats
    """(steps,) larger |S| of both sides over rating, 1.0 = 100 %."""
    voltage_pu: Floats
    """(steps, buses)"""
    line_loading: Floats
    """(steps, lines)"""

    @property
    def congested(self) -> NDArray[np.bool_]:
        """(steps,) transformer or a line beyond its rating."""
        worst = np.maximum(self.trafo_loading, self.line_loading.max(axis=1, initial=0.0))
        return np.asarray(worst > 1.0)


class Grid:
    """One net, built once; `run` solves any number of steps at a time."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self.buses: list[int] = [bus["id"] for bus in tables["bus"]]
        self.rating_kva = float(tables["trafo"][0]["s_kva"])
        self._loads = len(self.buses)
        self._model = PowerGridModel(_input(tables), system_frequency=float(tables["frequency_hz"]))

    @classmethod
    def read(cls, path: Path) -> Grid:
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def run(self, p_kw: Floats, q_kvar: Floats) -> Flow:
        """Solve every step.

        Args:
            p_kw, q_kvar: (steps, buses) net consumption at each bus, in the order of `buses`.
        """
        steps = p_kw.shape[0]
        update = initialize_array(DatasetType.update, ComponentType.sym_load, (steps, self._loads))
        update["id"] = [_LOAD + bus for bus in self.buses]
        update["p_specified"] = p_kw * 1e3
        update["q_specified"] = q_kvar * 1e3
        result = self._model.calculate_power_flow(
            update_data={ComponentType.sym_load: update},
            calculation_method=CalculationMethod.newton_raphson,
            output_component_types=[ComponentType.node, ComponentType.line, ComponentType.transformer],
        )
        trafo = result[ComponentType.transformer]
        return Flow(
            trafo_p_kw=trafo["p_from"][:, 0] / 1e3,
            trafo_q_kvar=trafo["q_from"][:, 0] / 1e3,
            trafo_loading=trafo["loading"][:, 0],
            voltage_pu=result[ComponentType.node]["u_pu"],
            line_loading=result[ComponentType.line]["loading"],
        )


# Ids are unique over all components; each kind has its own range.
_NODE, _LINE, _TRAFO, _SOURCE, _LOAD = 0, 1000, 2000, 3000, 4000


def _input(tables: dict[str, Any]) -> dict[ComponentType, Any]:
    def rows(component: ComponentType, count: int) -> Any:
        return initialize_array(DatasetType.input, component, count)

    node = rows(ComponentType.node, len(tables["bus"]))
    node["id"] = [_NODE + b["id"] for b in tables["bus"]]
    node["u_rated"] = [b["vn_kv"] * 1e3 for b in tables["bus"]]

    line = rows(ComponentType.line, len(tables["line"]))
    line["id"] = [_LINE + x["id"] for x in tables["line"]]
    line["from_node"] = [_NODE + x["from_bus"] for x in tables["line"]]
    line["to_node"] = [_NODE + x["to_bus"] for x in tables["line"]]
    line["from_status"] = line["to_status"] = 1
    parallel = np.array([x["parallel"] for x in tables["line"]])
    length = np.array([x["length_km"] for x in tables["line"]])
    line["r1"] = np.array([x["r_ohm_per_km"] for x in tables["line"]]) * length / parallel
    line["x1"] = np.array([x["x_ohm_per_km"] for x in tables["line"]]) * length / parallel
    line["c1"] = np.array([x["c_nf_per_km"] for x in tables["line"]]) * 1e-9 * length * parallel
    line["tan1"] = 0.0
    line["i_n"] = np.array([x["i_max_ka"] for x in tables["line"]]) * 1e3 * parallel

    trafo = rows(ComponentType.transformer, len(tables["trafo"]))
    for row, t in zip(trafo, tables["trafo"], strict=True):
        rating = t["s_kva"] * 1e3
        row["id"] = _TRAFO + t["id"]
        row["from_node"], row["to_node"] = _NODE + t["hv_bus"], _NODE + t["lv_bus"]
        row["from_status"] = row["to_status"] = 1
        row["u1"], row["u2"] = t["vn_hv_kv"] * 1e3, t["vn_lv_kv"] * 1e3
        row["sn"] = rating
        row["uk"], row["pk"] = t["vk_percent"] / 100, t["vkr_percent"] / 100 * rating
        row["i0"], row["p0"] = t["i0_percent"] / 100, t["pfe_kw"] * 1e3
        row["winding_from"], row["winding_to"] = WindingType.delta, WindingType.wye_n
        row["clock"] = round(t["shift_degree"] / 30)
        row["tap_side"] = 0
        # The extract's tap position is the neutral one of the rating plate (tap 0 in its description).
        row["tap_pos"] = row["tap_nom"] = 0
        row["tap_min"], row["tap_max"] = round(t["tap_min"]), round(t["tap_max"])
        row["tap_size"] = 0.0

    source = rows(ComponentType.source, len(tables["source_node"]))
    source["id"] = [_SOURCE + k for k in range(len(source))]
    source["node"] = [_NODE + s["bus"] for s in tables["source_node"]]
    source["status"] = 1
    source["u_ref"] = [s["vm_pu"] for s in tables["source_node"]]
    source["sk"] = 1e12

    load = rows(ComponentType.sym_load, len(tables["bus"]))
    load["id"] = [_LOAD + b["id"] for b in tables["bus"]]
    load["node"] = [_NODE + b["id"] for b in tables["bus"]]
    load["status"] = 1
    load["type"] = LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    return {
        ComponentType.node: node,
        ComponentType.line: line,
        ComponentType.transformer: trafo,
        ComponentType.source: source,
        ComponentType.sym_load: load,
    }
