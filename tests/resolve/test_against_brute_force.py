from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from patchpm.errors import ResolutionError
from patchpm.patch.ranges import Range
from patchpm.resolve.candidates import Pool
from patchpm.resolve.explain import unsatisfiable
from patchpm.resolve.proof import Statement
from patchpm.resolve.resolver import Resolution, resolve
from patchpm.resolve.solve import solve
from patchpm.resolve.ways_out import smallest_core
from tests.resolve.brute_force import BruteForce
from tests.resolve.problems import Problem, dense_problem, problems

_MANY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_MANY
@given(problems())
def test_an_answer_is_found_exactly_when_there_is_one_and_it_is_valid_and_minimal(problem: Problem) -> None:
    _check_answer(problem)


@_MANY
@given(problems())
def test_the_first_requirement_gets_the_highest_version_of_any_answer_and_so_on(problem: Problem) -> None:
    _check_greed(problem)


@_MANY
@given(problems(lock=True))
def test_locked_versions_stay_wherever_an_answer_keeps_all_of_them(problem: Problem) -> None:
    oracle = BruteForce(problem.shelf, problem.roots, problem.targets, problem.locked)
    answers = list(oracle.answers())
    outcome = _outcome(problem)
    if isinstance(outcome, ResolutionError):
        assert answers == []
        return
    assert outcome.versions in answers
    counted = {
        name: version
        for name, version in problem.locked.items()
        if version in oracle.releases.get(name, {})
        and all(root.range.contains(version) for root in problem.roots if root.name == name)
    }
    if any(_keeps(answer, counted) for answer in answers):
        assert _keeps(outcome.versions, counted)


@_MANY
@given(problems())
def test_every_release_of_an_answer_was_made_for_its_base(problem: Problem) -> None:
    outcome = _outcome(problem)
    if isinstance(outcome, Resolution):
        for target in problem.targets:
            releases = outcome.sets[target.label].releases
            assert [each for each in releases if each.base.match(target.fingerprint) is None] == []
            assert {each.name: each.version for each in releases} == outcome.versions


@_MANY
@given(problems())
def test_the_order_of_index_and_requirements_changes_nothing(problem: Problem) -> None:
    turned = replace(problem, entries=problem.entries[::-1], roots=problem.roots[::-1])
    one, other = _outcome(problem), _outcome(turned)
    if isinstance(one, ResolutionError):
        assert isinstance(other, ResolutionError)
    else:
        assert isinstance(other, Resolution)
        assert one.sets == other.sets


@_MANY
@given(problems())
def test_a_blamed_set_of_requirements_fails_on_its_own_and_none_of_it_can_be_left_out(problem: Problem) -> None:
    _check_core(problem)


@_MANY
@given(problems())
def test_every_way_out_that_is_offered_works(problem: Problem) -> None:
    _check_ways_out(problem)


@pytest.mark.parametrize("seeds", [range(120), pytest.param(range(120, 600), marks=pytest.mark.stress)], ids=str)
def test_all_of_this_holds_for_problems_in_which_most_patches_have_wishes(seeds: range) -> None:
    for seed in seeds:
        problem = dense_problem(seed)
        _check_answer(problem)
        _check_greed(problem)
        _check_core(problem)
        _check_ways_out(problem)


def _check_answer(problem: Problem) -> None:
    answers = list(BruteForce(problem.shelf, problem.roots, problem.targets).answers())
    outcome = _outcome(problem)
    if isinstance(outcome, ResolutionError):
        assert answers == []
    else:
        assert outcome.versions in answers


def _check_greed(problem: Problem) -> None:
    oracle = BruteForce(problem.shelf, problem.roots, problem.targets)
    outcome = _outcome(problem)
    if isinstance(outcome, Resolution):
        assert oracle.greedy(outcome.versions) == max(map(oracle.greedy, oracle.answers()))


def _check_core(problem: Problem) -> None:
    pool = Pool(problem.shelf, problem.targets, {}, lambda _: None)
    proof = solve(pool, problem.roots)
    if not isinstance(proof, Statement):
        return
    core, _ = smallest_core(pool, proof)
    oracle = BruteForce(problem.shelf, problem.roots, problem.targets)
    assert list(oracle.answers(core)) == []
    for root in core:
        rest = [each for each in core if each != root]
        assert not rest or list(oracle.answers(rest)) != []


def _check_ways_out(problem: Problem) -> None:
    pool = Pool(problem.shelf, problem.targets, {}, lambda _: None)
    proof = solve(pool, problem.roots)
    if not isinstance(proof, Statement):
        return
    error = unsatisfiable(pool, problem.roots, proof)
    for way in (error.next or "").split("; or "):
        changed = _changed(problem, way)
        if changed is not None:
            oracle = BruteForce(problem.shelf, changed.roots, problem.targets)
            assert list(oracle.answers()) != [], way


def _outcome(problem: Problem) -> Resolution | ResolutionError:
    try:
        return resolve(problem.roots, problem.shelf, problem.targets, locked=problem.locked, max_tokens=1000)
    except ResolutionError as error:
        return error


def _keeps(answer: object, locked: object) -> bool:
    assert isinstance(answer, dict)
    assert isinstance(locked, dict)
    return all(answer[name] == version for name, version in locked.items() if name in answer)


def _changed(problem: Problem, way: str) -> Problem | None:
    """The problem with the user's requirements changed as `way` says."""
    match = re.match(r"leave out (?P<name>\S+) \((?P<origin>.*)\)", way)
    if match is not None:
        kept = [root for root in problem.roots if (str(root.name), root.origin) != (match["name"], match["origin"])]
        return replace(problem, roots=tuple(kept))
    match = re.match(r"ask for (?P<name>\S+)@(?P<range>\S+) instead of .* \((?P<origin>.*)\),", way)
    if match is not None:
        wanted = Range.parse(match["range"])
        is_meant = (match["name"], match["origin"])
        roots = [replace(r, range=wanted) if (str(r.name), r.origin) == is_meant else r for r in problem.roots]
        return replace(problem, roots=tuple(roots))
    return None
