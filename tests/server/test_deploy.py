"""The image and the manifest name what there is: extras, options, paths, ports."""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from gatework.cli.app import group
from services import need_extra

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def defaults():
    """The options of `gatework serve`, with what they are unless said."""
    command = group().get_command(None, "serve")
    return {name: one.default for one in command.params for name in one.opts if name.startswith("--")}


def instruction(name):
    """The value of an instruction, its lines joined."""
    found = re.findall(rf"^{name} ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    assert len(found) == 1, name
    return found[0].replace("\\\n", " ")


def served_with():
    shell = json.loads(instruction("ENTRYPOINT"))
    assert shell[:2] == ["sh", "-c"]
    return shlex.split(shell[2])


def options_of(words):
    return [word for word in words if word.startswith("--")]


def test_the_image_runs_a_command_that_exists():
    words = served_with()
    assert words[:3] == ["exec", "gatework", "serve"]
    assert "gatework" in PROJECT["scripts"]
    assert set(options_of(words)) <= set(defaults())
    assert words.index("$@") < words.index("/models/*.gw"), "options of the caller come before the bundles"


def test_the_image_installs_the_extra_and_no_torch():
    installed = re.findall(r"'[^']*\[(\w+)\]'", DOCKERFILE)
    assert installed == ["serve", "serve"]
    named = " ".join([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"]])
    assert "torch" not in named
    assert "gatework[" not in named, "an extra within the extra may bring more"


def test_the_image_copies_what_there_is():
    copied = [name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    for name in [*copied, PROJECT["readme"], *PROJECT["license-files"]]:
        assert (ROOT / name).exists(), name
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(copied)


def test_the_image_is_checked_where_it_listens():
    need_extra()
    from gatework.server.service import OPEN

    check = json.loads(instruction("HEALTHCHECK").partition("CMD")[2])
    ast.parse(check[2])
    address = re.search(r"http://127\.0\.0\.1:(\d+)(/[a-z/]+)'", check[2])
    assert address is not None
    assert int(address[1]) == defaults()["--port"]
    assert address[2] in OPEN
    assert instruction("EXPOSE").split() == [str(defaults()["--port"]), str(defaults()["--grpc-port"])]
    assert int(instruction("USER")) > 0


@pytest.fixture(name="manifest")
def manifest_():
    yaml = pytest.importorskip("yaml", reason="no yaml")
    found = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")))
    return {one["kind"]: one for one in found}


def test_the_manifest_starts_what_the_image_has(manifest):
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    known = defaults()
    assert set(options_of(container["args"])) <= set(known)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": known["--port"], "grpc": known["--grpc-port"]}
    assert container["image"] == f"gatework:{PROJECT['version']}"
    assert container["image"] in DOCKERFILE
    assert pod["securityContext"]["runAsUser"] == int(instruction("USER"))
    given = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > float(given["--drain"]) + wait
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert given["--token-file"].startswith(mounted["token"])
    assert mounted["models"] in DOCKERFILE
    assert set(mounted) == {one["name"] for one in pod["volumes"]}


def test_the_manifest_is_safe_and_probed(manifest):
    need_extra()
    from gatework.server.service import OPEN

    [container] = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in OPEN
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    labels = manifest["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifest["Service"]["spec"]["selector"] == labels
    targets = {port["targetPort"] for port in manifest["Service"]["spec"]["ports"]}
    assert targets == {port["name"] for port in container["ports"]}
