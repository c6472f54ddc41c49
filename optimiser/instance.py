"""Instance files `lfa-instance/1` and plan files (npz, float64, homes first; README of the file format is here).

Fields are those of `Portfolio`, `Limits` (as `limit_lo_kw`, `limit_hi_kw`, `penalty_eur_per_kwh`), `Tariffs` and
`Appliances` (as `app_home`, `app_first`, `app_last`, `app_len`, `app_profile_kw`) and `Modes` (as `mode_home`,
`mode_run`, `mode_current`, `mode_held` (D,), `mode_power_kw`, `mode_cost_eur_per_h`, `mode_stay` (D,K) and
`mode_switch_eur` (D,K,K)), and `dt_h`. A rating that does not
change by ISP is written as (N,). Nested congestion points have `limit_contains` (G,L). Unknown keys are left alone.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from datamodels import Problem
from optimiser.plans import Plan
from optimiser.portfolio import ARRAY_FIELDS, PER_ISP_RATINGS, Appliances, InputError, Limits, Modes, Portfolio, Tariffs

__all__ = ["FORMAT", "plan_to_json", "read_instance", "write_instance", "write_plan"]

FORMAT = "lfa-instance/1"
_APPLIANCES = {"home": "home", "first": "first", "last": "last", "len": "length", "profile_kw": "profile_kw"}


def read_instance(path: Path) -> tuple[Portfolio, Limits, Tariffs]:
    """Read an instance.

    Raises:
        InputError: not such a file, a key is missing, or an array has the wrong shape.
        OSError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError([Problem("file.format", str(path), f"is not an npz file: {error}")]) from error
    if str(data.get("format")) != FORMAT:
        raise InputError([Problem("file.format", str(path), f"says format {data.get('format')}, not {FORMAT}")])
    wanted = {*ARRAY_FIELDS, "dt_h", "penalty_eur_per_kwh", "limit_lo_kw", "limit_hi_kw"}
    wanted |= {"buy_eur_per_kwh", "sell_eur_per_kwh"}
    if "app_home" in data:
        wanted |= {f"app_{key}" for key in _APPLIANCES}
    if "mode_home" in data:
        wanted |= {f"mode_{f.name}" for f in fields(Modes)}
    missing = sorted(wanted - data.keys())
    if missing:
        raise InputError([Problem("file.key", str(path), f"lacks {key}") for key in missing])
    appliances = Appliances()
    if "app_home" in data:
        appliances = Appliances(**{field: data[f"app_{key}"] for key, field in _APPLIANCES.items()})
    modes = Modes()
    if "mode_home" in data:
        modes = Modes(**{f.name: data[f"mode_{f.name}"] for f in fields(Modes)})
    portfolio = Portfolio(
        dt_h=float(data["dt_h"]), appliances=appliances, modes=modes, **{name: data[name] for name in ARRAY_FIELDS}
    )
    penalty = data["penalty_eur_per_kwh"]
    penalty = float(penalty) if penalty.ndim == 0 else penalty
    limits = Limits(data["limit_lo_kw"], data["limit_hi_kw"], penalty, data.get("limit_contains"))
    return portfolio, limits, Tariffs(data["buy_eur_per_kwh"], data["sell_eur_per_kwh"])


def write_instance(path: Path, portfolio: Portfolio, limits: Limits, tariffs: Tariffs) -> None:
    """Write an instance that `read_instance` reads back unchanged."""
    data: dict[str, Any] = {name: getattr(portfolio, name) for name in ARRAY_FIELDS}
    for name in PER_ISP_RATINGS:
        if (data[name] == data[name][:, :1]).all():
            data[name] = data[name][:, 0]
    penalty = limits.penalty
    data |= {
        "format": FORMAT,
        "dt_h": portfolio.dt_h,
        "penalty_eur_per_kwh": penalty.flat[0] if penalty.size and (penalty == penalty.flat[0]).all() else penalty,
        "limit_lo_kw": limits.lo_kw,
        "limit_hi_kw": limits.hi_kw,
        "buy_eur_per_kwh": tariffs.buy_eur_per_kwh,
        "sell_eur_per_kwh": tariffs.sell_eur_per_kwh,
    }
    if limits.contains is not None:
        data["limit_contains"] = limits.contains
    data |= {f"app_{key}": getattr(portfolio.appliances, field) for key, field in _APPLIANCES.items()}
    if len(portfolio.modes):
        data |= {f"mode_{f.name}": getattr(portfolio.modes, f.name) for f in fields(Modes)}
    np.savez_compressed(path, **data)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan; `problems` is JSON text."""
    np.savez_compressed(
        path,
        net_kw=plan.net_kw,
        bat_charge_kw=plan.bat_charge_kw,
        bat_discharge_kw=plan.bat_discharge_kw,
        ev_kw=plan.ev_kw,
        hp_kw=plan.hp_kw,
        pv_used_kw=plan.pv_kw,
        app_start=plan.app_start,
        mode=plan.mode,
        price_eur_per_kwh=plan.price_eur_per_kwh,
        objective_eur=plan.cost_eur,
        lower_bound_eur=plan.bound_eur,
        status=str(plan.status),
        problems=json.dumps([p.to_json() for p in plan.problems]),
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan for people and scripts: figures, group and home power in W, problems."""
    return {
        "status": str(plan.status),
        "objective_eur": plan.cost_eur,
        "energy_cost_eur": plan.energy_cost_eur,
        "penalty_eur": plan.penalty_eur,
        "lower_bound_eur": plan.bound_eur,
        "gap": plan.gap,
        "iterations": plan.iterations,
        "cpu_s": round(plan.cpu_s, 4),
        "group_w": plan.group_w.tolist(),
        "net_w": plan.net_w.tolist(),
        "violation_kw": np.round(plan.violation_kw, 6).tolist(),
        "price_eur_per_kwh": np.round(plan.price_eur_per_kwh, 6).tolist(),
        "app_start": plan.app_start.tolist(),
        "mode": plan.mode.tolist(),
        "problems": [p.to_json() for p in plan.problems],
        "notes": list(plan.notes),
    }
