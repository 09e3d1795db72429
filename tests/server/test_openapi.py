"""The service keeps to its own description: `schemathesis` reads `/openapi.json`, asks what it allows and what it does
not, and checks statuses, types and bodies of the answers."""

import os
import shutil
from itertools import product

import pytest

from services import need_extra, running

need_extra()
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

EXAMPLES = int(os.environ.get("EXAMPLES", "4"))
"""For each of the description's calls; more find more."""

NOT_CHECKED = [positive_data_acceptance]
"""A request that fits the description may be refused all the same, with a status that it names: a label, an option, a
text with no gap is the model's affair."""


@pytest.fixture(scope="module")
def described(small, tmp_path_factory):
    """A service of its own, as models come and go, and its description."""
    folder = tmp_path_factory.mktemp("described")
    for name, path in small.items():
        shutil.copy(path, folder / f"{name}.gw")
    with running(small.values(), folder=folder) as service:
        yield service, schemathesis.openapi.from_url(f"{service.url}/openapi.json")


@pytest.mark.slow
def test_answers_are_as_described(described, small):
    service, schema = described
    calls = [one.ok() for one in schema.get_all_operations()]
    assert len(calls) > 30
    for call in calls:

        @given(case=call.as_strategy(), name=st.sampled_from([None, *small]))
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case, name):
            if name is not None and "name" in (case.path_parameters or {}):
                case.path_parameters["name"] = name
            case.call_and_validate(excluded_checks=NOT_CHECKED)
            if case.path.endswith("/unload") and name is not None:
                assert service.post(f"/v2/repository/models/{name}/load", {}).status == 200

        ask()
    service.idle()


@pytest.mark.parametrize("action", ["predict", "generate", "fill", "rewrite"])
def test_options_that_do_not_fit_are_refused(everything, small, action):
    jsonschema = pytest.importorskip("jsonschema_rs", reason="of an older schemathesis")
    path = f"/v1/models/{{name}}/{action}"
    content = everything.get("/openapi.json").json["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    body = content["schema"].get("oneOf", [content["schema"]])[0]
    values = (None, True, -1, 0, 1.5, 1e9, "", "no", ["x", 1], [1, 2, 3], {"odd": 1}, {"must": 3})
    asked = 0
    for (option, schema), value in product(body["properties"]["options"]["properties"].items(), values):
        if jsonschema.is_valid(schema, value):
            continue
        for name in small:
            got = everything.post(path.format(name=name), {**content["example"], "options": {option: value}})
            assert 400 <= got.status < 500, (name, option, value, got.body)
            asked += 1
    assert asked > 100
