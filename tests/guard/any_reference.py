"""Any reference that patchpm could have measured, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from patchpm.guard.distribution import Distribution
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.served import AsLocked, Half, HalfStripped, LeftOut, OtherRelease, Stripped, WrongOrder
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
names = st.sampled_from(["acme/toxicity", "acme/bias", "corp/x-own"]).map(PatchName.parse)
distributions = (
    st.lists(st.tuples(texts, st.floats(-40, 0)), min_size=1, max_size=30)
    .map(Distribution.of)
    .filter(lambda made: bool(made.tokens))
)
alternatives = st.one_of(
    st.just(Stripped()),
    st.sampled_from(Half).map(HalfStripped),
    names.map(LeftOut),
    st.builds(OtherRelease, names, st.sampled_from(["1.0.0", "0.9.0-rc.1", "2.0.0+cpu"]).map(Version.parse)),
    st.lists(names, min_size=2, max_size=3).map(lambda order: WrongOrder(tuple(order))),
)
distances = st.floats(0.001, 40).map(lambda value: round(value, 4))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    count = draw(st.integers(1, 2))
    answers = st.lists(distributions, min_size=count, max_size=count).map(tuple)
    tokens = st.integers(1, 900)
    probes = tuple(
        Probe(({"role": "user", "content": draw(texts)},), draw(tokens), draw(tokens), draw(texts), draw(texts))
        for _ in range(count)
    )
    served = draw(st.lists(alternatives, min_size=1, max_size=2, unique=True))
    return Reference(
        base=Digest.of(draw(st.binary(max_size=4))),
        template=draw(st.none() | st.just(Digest.of(b"template"))),
        set=Digest.of(b"set"),
        anchor="system-start",
        patches=("acme/toxicity 1.0.0",),
        probes=probes,
        right=Hypothesis(AsLocked(), draw(answers)),
        alternatives=tuple(Hypothesis(one, draw(answers)) for one in served),
        noise=(Noise("bfloat16", draw(distances)),),
        threshold=draw(distances),
        separation=draw(distances),
    )
