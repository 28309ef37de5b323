"""What KubeRay's schema says of the fields that Catwalk writes, and of no others: recorded, so that it is always there.

The schema itself (`ray.io_raycronjobs.yaml.xz`) lies in ../shared/schemas; a RayCronJob holds a RayJob, which holds a
RayCluster, so that one schema serves all three.

python -m tests.cluster.kuberay_schema     write the record anew, after Catwalk writes a new field
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import CHECKOUT, SHARED

RECORD = CHECKOUT / "tests" / "golden" / "kuberay" / "raycronjob.json"
FULL = Path("schemas") / "ray.io_raycronjobs.yaml.xz"
KEPT = ("type", "enum", "minimum", "anyOf", "required")

Schema = dict[str, Any]


def strict(schema: Any) -> Any:
    """Every object that lists its properties has no others."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(one) for name, one in schema.items()}
    return {**made, "additionalProperties": False} if isinstance(made.get("properties"), dict) else made


def spec_of(crd: Schema) -> Schema:
    """The schema of `spec` in version v1 of a custom resource."""
    (version,) = (one for one in crd["spec"]["versions"] if one["name"] == "v1")
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def full(shared: Path) -> Schema:
    """KubeRay's schema of a RayCronJob's `spec`."""
    safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return spec_of(yaml.load(lzma.open(shared / FULL), Loader=safe))  # noqa: S506 (safe, in C where there is one)


def pruned(schema: Schema, values: list[Any]) -> Schema:
    """Of a schema what bears on these values, without descriptions."""
    kept = {name: schema[name] for name in KEPT if name in schema}
    if "properties" in schema:
        objects = [value for value in values if isinstance(value, dict)]
        used = sorted({name for value in objects for name in value} | set(schema.get("required", ())))
        kept["properties"] = {
            name: pruned(schema["properties"][name], [value[name] for value in objects if name in value])
            for name in used
            if name in schema["properties"]
        }
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = pruned(schema["additionalProperties"], [])
    if "items" in schema:
        kept["items"] = pruned(schema["items"], [one for value in values if isinstance(value, list) for one in value])
    return kept


def recorded() -> Schema:
    """The record."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def main() -> None:
    """Write the record."""
    from tests.cluster.test_kube import everything

    RECORD.parent.mkdir(exist_ok=True)
    record = pruned(full(SHARED), [one["spec"] for one in everything()])
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
