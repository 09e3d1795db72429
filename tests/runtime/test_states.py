"""States of a language model at tokens, and what a bundle may say of one."""

import dataclasses

import numpy as np
import pytest

from bundles import architecture, text_codec
from gatework.core.architecture import Architecture, Encoder, States
from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError
from gatework.runtime import states
from gatework.runtime.shapes import states_shapes, weight_shapes
from gatework.runtime.states import StateEncoder
from gatework.runtime.tables import Table, dense, stored
from language_models import tensor_file

SETTINGS = States(
    vocabulary=20,
    embedding=5,
    encoder=Encoder(cell="lstm", units=6, bidirectional=False),
    directions=("forward", "backward"),
)


def random_encoder(settings, seed=0):
    rng = np.random.default_rng(seed)
    shapes = states_shapes(settings)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    return StateEncoder.of(settings, weights)


def batch_of(lengths, seed=1):
    """Rows of these lengths, each with three tokens that overlap."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 20, (len(lengths), max(lengths)))
    row = np.repeat(np.arange(len(lengths)), 3)
    begin = np.array([[1, length // 2, length - 2] for length in lengths]).reshape(-1)
    return PieceBatch(ids, np.array(lengths), row, begin, begin + 1)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("directions", [("forward",), ("backward",), ("forward", "backward")])
def test_groups_of_rows_change_nothing(monkeypatch, directions, layers):
    settings = dataclasses.replace(
        SETTINGS, directions=directions, encoder=dataclasses.replace(SETTINGS.encoder, layers=layers)
    )
    encoder, batch = random_encoder(settings), batch_of([9, 30, 4, 17, 30, 5])
    want = encoder.states(batch)
    assert want.shape == (18, settings.width)
    monkeypatch.setattr(states, "GROUP_PIECES", 33)
    np.testing.assert_allclose(encoder.states(batch), want, rtol=0, atol=1e-6)
    for row in range(6):
        alone = encoder.states(batch.part(3 * row, 3 * row + 3))
        np.testing.assert_allclose(alone, want[3 * row : 3 * row + 3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("storage", ["int8", "fp32"])
def test_a_row_alone_reads_weights_as_they_lie(storage):
    """The short way, whose recurrent matrices stay in 8 bits, against rows together, whose weights are float32."""
    settings = dataclasses.replace(SETTINGS, encoder=dataclasses.replace(SETTINGS.encoder, units=48))
    rng = np.random.default_rng(2)
    shapes = states_shapes(settings)
    arrays = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    weights = tensor_file(arrays, storage)
    encoder = StateEncoder(
        settings,
        Table(weights, "states.embedding.weight", source="m.gw"),
        lambda name: dense(weights, name),
        lambda name: stored(weights, name),
    )
    batch = batch_of([40, 7, 101])
    want = encoder.states(batch)
    for row in range(3):
        alone = encoder.states(batch.part(3 * row, 3 * row + 3))
        np.testing.assert_allclose(alone, want[3 * row : 3 * row + 3], rtol=0, atol=2e-6)


def test_states_know_what_stands_on_their_side_alone():
    encoder, batch = random_encoder(SETTINGS), batch_of([12])
    want = encoder.states(batch)
    later, earlier = batch.ids_RP.copy(), batch.ids_RP.copy()
    later[0, 8:], earlier[0, :5] = 1, 1  # the middle token is character 6
    forward, backward = slice(0, 6), slice(6, 12)
    changed = encoder.states(batch._replace(ids_RP=later))
    np.testing.assert_array_equal(changed[1, forward], want[1, forward])
    assert np.abs(changed[1, backward] - want[1, backward]).max() > 1e-3
    changed = encoder.states(batch._replace(ids_RP=earlier))
    np.testing.assert_array_equal(changed[1, backward], want[1, backward])
    assert np.abs(changed[1, forward] - want[1, forward]).max() > 1e-3


def test_shapes_of_a_network_that_reads_states():
    for inside, projection in ((True, 4), (False, 0)):
        own = dataclasses.replace(SETTINGS, inside=inside, projection=projection)
        a = architecture(text_codec(), states=own)
        shapes = weight_shapes(a)
        assert (set(states_shapes(own)) <= set(shapes)) == inside
        assert ("states.projection.weight" in shapes) == bool(projection)
        assert a.encoder_inputs == architecture(text_codec()).encoder_inputs + (projection or 12)
        assert Architecture.from_dict(a.to_dict(), source="a") == a


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"directions": ["up"]}, "directions must be forward, backward or both"),
        ({"directions": "forward"}, "directions must be"),
        ({"units": 3}, "unknown entry 'units'"),
        ({"projection": -1}, "projection is -1"),
        ({"encoder": {"cell": "lstm", "units": 6, "bidirectional": True}}, "directions must be"),
        ({"encoder": {"cell": "lstm", "units": 0}}, "encoder: units is 0"),
        ({"inside": 1}, "inside must be of type bool"),
    ],
)
def test_an_architecture_may_come_from_anyone(changes, what):
    values = architecture(text_codec(), states=SETTINGS).to_dict()
    values["states"] = {**values["states"], **changes}
    with pytest.raises(BundleError, match=f"a: states: .*{what}|a: states: {what}"):
        Architecture.from_dict(values, source="a")
