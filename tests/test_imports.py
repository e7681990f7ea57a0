"""Keeps the rules on who may import whom, over every import statement of the project, lazy ones too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sharemesh", "services", "registry", "gateway", "monitoring", "local", "chaos", "bench")
# What is not shipped.
WORKSHOP = ("local", "chaos", "bench")
FIVE = ("entry", "publish", "audit", "share", "redeem")
# What chassis may know of the contracts.
OPTIONS = {"sharemesh.v1.options_pb2", "sharemesh.v1.error_reason_pb2"}
WIRE = ("grpc", "grpc_health", "grpc_reflection", "grpc_status", "sharemesh", "registry")
# What the rooms beside services/ must not reach, and the rule's words.
ALONE = {
    "registry": (("services", "monitoring"), "registry imports neither services nor monitoring"),
    "gateway": (("services", "monitoring"), "gateway imports neither services nor monitoring"),
    "local": (("services", "monitoring"), "local starts what it is asked for, and imports no service"),
    "monitoring": (("services",), "monitoring never imports services"),
    "sharemesh": (("services", "registry", "gateway", "monitoring"), "the stubs stand alone"),
}

# Module name -> names of the modules it imports: full names of ours, dotted names as written of all others.
Graph = dict[str, set[str]]


def read_graph(root: Path) -> Graph:
    """Returns who imports whom under `root`. A package stands for its __init__.py."""
    files: dict[str, Path] = {}
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return {module: {*read_imports(file, files)} for module, file in files.items()}


def read_imports(file: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(source), names=names, level=0):
                # `from a import b` loads the module a.b if there is one, else takes a name of module a.
                for alias in names:
                    is_module = f"{source}.{alias.name}" in modules or source == "tests"
                    yield f"{source}.{alias.name}" if is_module else source
            case ast.ImportFrom():
                yield "a relative import"
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[name, *_]):
                yield str(name.value) if isinstance(name, ast.Constant) else "a module by a computed name"


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def paths_from(graph: Graph, start: str) -> Iterator[list[str]]:
    """Yields, for everything that `start` reaches, one shortest path there: [start, ..., reached]."""
    paths = {start: [start]}
    queue = [start]
    for module in queue:
        for imported in sorted(graph.get(module, ())):
            if imported not in paths:
                paths[imported] = [*paths[module], imported]
                queue.append(imported)
                yield paths[imported]


def forbidden_of(module: str) -> tuple[tuple[str, ...], str]:
    """Returns the packages that `module` must not reach by any path, and the rule's own words."""
    service = next((name for name in FIVE if within(module, f"services.{name}")), None)
    others = tuple(f"services.{name}" for name in FIVE if name != service)
    if service and within(module, f"services.{service}.domain"):
        return (*WIRE, *others, "monitoring"), "domain knows no wire, and a service imports no other service"
    if service:
        return (*others, "monitoring"), "a service imports no other service"
    if within(module, "services.schema"):
        return (*WIRE, *others, "services.ledger", "monitoring"), "schema imports chassis only, and knows no wire"
    if within(module, "services.ledger"):
        return (*WIRE, *others, "monitoring"), "the ledger imports schema and chassis only, and knows no wire"
    if within(module, "services.chassis"):
        return (*others, "services.schema", "services.ledger", "monitoring"), "chassis imports no room of the house"
    room = next((place for place in ALONE if within(module, place)), None)
    return ALONE[room] if room else ((), "")


def find_violations(graph: Graph) -> list[str]:
    """Returns a line for each rule that is broken: what reaches what, by which path, against which rule."""
    found = []
    for module in sorted(graph):
        forbidden, rule = forbidden_of(module)
        found += [f"{' -> '.join(path)}: {rule}" for path in paths_from(graph, module) if within(path[-1], *forbidden)]
        found += [f"{module} -> {imported}: {rule}" for imported, rule in find_direct(module, graph[module])]
    return found


def find_direct(module: str, imports: set[str]) -> Iterator[tuple[str, str]]:
    """Yields the imports of one module that break a rule on what it may name itself, each with the rule."""
    is_start = module.startswith("services.") and module.count(".") == 1
    stubs = sorted(name for name in imports if within(name, "sharemesh"))
    domains = sorted(name for name in imports if any(within(name, f"services.{service}.domain") for service in FIVE))
    is_servicer = any(within(module, f"services.{service}.servicer") for service in FIVE)
    if within(module, "services.chassis"):
        yield from ((name, "chassis knows options and error reasons only") for name in stubs if name not in OPTIONS)
    if stubs and domains and not is_servicer:
        yield f"{stubs[0]} and {domains[0]}", "only servicer.py sees both a pb2 message and domain"
    for name in sorted(imports):
        servicer = next((service for service in FIVE if within(name, f"services.{service}.servicer")), None)
        if servicer and not is_start and not within(module, f"services.{servicer}.servicer"):
            yield name, "only the start-up imports a servicer"
        yield from ((name, rule) for rule in find_backward(module, name))
        if within(name, "monitoring") and not within(module, "monitoring", "services.__main__"):
            yield name, "only services/__main__ dispatches to monitoring"
        if name == "a relative import" or (name == "a module by a computed name" and not is_start):
            yield name, "imports are absolute and readable"


def find_backward(module: str, name: str) -> Iterator[str]:
    """Yields the rule that is broken if `module` names what is there to develop, test or measure the product."""
    workshop = next((place for place in WORKSHOP if within(module, place)), None)
    # By its books, which any room's rules must leave right, chaos too sees what became of its calls.
    if within(name, "tests") and not (workshop == "chaos" and name == "tests.ledger"):
        yield "nobody imports the tests"
    if within(name, *WORKSHOP) and workshop is None:
        yield "the product does not know how it is developed, tested and measured"
    if workshop == "local" and within(name, "chaos", "bench"):
        yield "local does not know who uses it"
    if (workshop == "bench" and within(name, "chaos")) or (workshop == "chaos" and within(name, "bench")):
        yield "bench and chaos do not know each other"


def test_every_import_keeps_the_rules() -> None:
    graph = read_graph(ROOT)
    assert "services.chassis" in graph
    assert find_violations(graph) == []


def test_package_init_files_are_empty() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")]
    assert files
    assert [str(file.relative_to(ROOT)) for file in files if file.read_text().strip()] == []


def loaded_by(modules: list[str]) -> set[str]:
    """Returns the names of the modules that a fresh Python has loaded after importing `modules`."""
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\nprint(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("service", FIVE)
def test_importing_a_service_loads_no_other_service(service: str) -> None:
    modules = sorted(name for name in read_graph(ROOT) if within(name, f"services.{service}"))
    others = [f"services.{name}" for name in FIVE if name != service]
    assert [name for name in loaded_by(modules) if within(name, *others)] == []


def test_the_command_line_loads_no_service_before_one_is_asked_for() -> None:
    services = [f"services.{name}" for name in FIVE]
    assert [name for name in loaded_by(["services.__main__"]) if within(name, *services)] == []


def test_serving_redemptions_loads_nothing_that_only_others_need() -> None:
    loaded = loaded_by(["services.__main__", "services.start", "services.redeem.servicer"])
    others = ("rich", "fsspec", "PIL", "jsonschema", "daachorse", "services.journey", "monitoring")
    # Of the mesh, which a process with a static registry is not in.
    mesh = ("consul", "aiohttp", "envoy", "xds", "gateway", "registry.consul", "registry.tls", "registry.certs")
    assert [name for name in loaded if within(name, *others, *mesh)] == []


@pytest.mark.parametrize(
    ("files", "violation"),
    [
        (
            {
                "services/share/domain.py": "from services.chassis import call",
                "services/chassis/call.py": "import grpc.aio",
            },
            "services.share.domain -> services.chassis.call -> grpc.aio: domain knows no wire",
        ),
        (
            {
                "services/share/domain.py": "def f():\n  from sharemesh.v1 import share_pb2",
                "sharemesh/v1/share_pb2.py": "",
            },
            "services.share.domain -> sharemesh.v1.share_pb2: domain knows no wire",
        ),
        (
            {"services/share/links.py": "import services.redeem.codes", "services/redeem/codes.py": ""},
            "services.share.links -> services.redeem.codes: a service imports no other service",
        ),
        (
            {"services/share/sweep.py": "from services.share import domain\nfrom sharemesh.v1 import share_pb2"}
            | {"services/share/domain.py": "", "sharemesh/v1/share_pb2.py": ""},
            "only servicer.py sees both",
        ),
        ({"services/ledger/claim.py": "import services.share.domain"}, "the ledger imports schema and chassis only"),
        ({"services/schema/tables.py": "import services.ledger.claim"}, "schema imports chassis only"),
        (
            {"services/chassis/server.py": "import sharemesh.v1.share_pb2"},
            "chassis knows options and error reasons only",
        ),
        ({"services/chassis/server.py": "import services.schema.tables"}, "chassis imports no room of the house"),
        ({"registry/config.py": "import services.chassis.errors"}, "registry imports neither services nor monitoring"),
        ({"monitoring/host.py": "import services.schema.tables"}, "monitoring never imports services"),
        ({"sharemesh/v1/share_pb2.py": "import registry.channel"}, "the stubs stand alone"),
        ({"services/entry/images.py": "import services.entry.servicer"}, "only the start-up imports a servicer"),
        ({"services/chassis/health.py": "import monitoring.host"}, "only services/__main__ dispatches to monitoring"),
        (
            {"gateway/run.py": "import services.chassis.errors"},
            "gateway imports neither services nor monitoring",
        ),
        (
            {"local/mesh.py": "import registry.channel", "registry/channel.py": "import services.schema.tables"},
            "local.mesh -> registry.channel -> services.schema.tables: local starts what it is asked for",
        ),
        ({"services/audit/engine.py": "from bench import load"}, "the product does not know how it is developed"),
        ({"registry/plane.py": "from local import consul"}, "the product does not know how it is developed"),
        ({"gateway/run.py": "def f():\n  import local.envoy"}, "the product does not know how it is developed"),
        ({"monitoring/host.py": "import chaos.load"}, "the product does not know how it is developed"),
        ({"services/audit/engine.py": "from tests import mesh"}, "nobody imports the tests"),
        ({"bench/world.py": "from tests import mesh"}, "nobody imports the tests"),
        ({"local/mesh.py": "from tests.ledger import world"}, "nobody imports the tests"),
        ({"local/mesh.py": "from bench import load"}, "local does not know who uses it"),
        ({"chaos/load.py": "from bench import load"}, "bench and chaos do not know each other"),
        ({"services/entry/images.py": "from . import domain"}, "imports are absolute and readable"),
        ({"services/entry/images.py": "import_module('services.' + x)"}, "imports are absolute and readable"),
    ],
)
def test_a_broken_rule_is_reported(tmp_path: Path, files: dict[str, str], violation: str) -> None:
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [line for line in find_violations(read_graph(tmp_path)) if violation in line]
