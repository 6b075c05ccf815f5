#!/usr/bin/env python3
"""Writes a JSON schema for each kind of Kubernetes and of Dapr, for kubeconform to read.

    kube_schemas.py SWAGGER_JSON CRD_FOLDER OUTPUT_FOLDER

Stricter than the sources in one thing, as kubectl is: a member that a schema does not name is wrong.
The files are named <kind>-<first word of the group>-<version>.json, <kind>-v1.json for the core.
"""

import json
import pathlib
import sys

import yaml

PREFIX = "#/definitions/"


def strict(schema):
    """A copy that takes no members but those named, and null where Kubernetes takes it: anywhere."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    copy = {key: strict(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if isinstance(copy.get("properties"), dict) and "additionalProperties" not in copy and not schema.get(
            "x-kubernetes-preserve-unknown-fields"):
        copy["additionalProperties"] = False
    return copy


def references(schema):
    """The definitions that a schema names itself."""
    if isinstance(schema, list):
        for entry in schema:
            yield from references(entry)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(PREFIX):
            yield reference[len(PREFIX):]
        for value in schema.values():
            yield from references(value)


def with_needed(name, definitions):
    """One schema that needs no other file."""
    needed, waiting = {}, [name]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed[current] = definitions[current]
            waiting += references(definitions[current])
    return {"$ref": PREFIX + name, "definitions": needed}


def write(folder, group, version, kind, schema):
    parts = [kind, group.split(".")[0], version] if group else [kind, version]
    (folder / ("-".join(parts).lower() + ".json")).write_text(json.dumps(schema))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    swagger, crds, folder = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True)
    definitions = json.loads(swagger.read_text())["definitions"]
    kinds = {name: schema["x-kubernetes-group-version-kind"] for name, schema in definitions.items()
             if len(schema.get("x-kubernetes-group-version-kind", [])) == 1}
    definitions = {name: strict(schema) for name, schema in definitions.items()}
    for name, ((kind,)) in kinds.items():
        write(folder, kind["group"], kind["version"], kind["kind"], with_needed(name, definitions))
    for file in sorted(crds.glob("*.yaml")):
        for crd in yaml.safe_load_all(file.read_text()):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            for version in spec["versions"]:
                write(folder, spec["group"], version["name"], spec["names"]["kind"],
                      strict(version["schema"]["openAPIV3Schema"]))
    print(f"{len(list(folder.iterdir()))} schemas in {folder}")


if __name__ == "__main__":
    main()
