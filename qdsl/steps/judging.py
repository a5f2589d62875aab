"""Steps over artifacts that are there: what they are worth, here and elsewhere, and what to do about it."""

from __future__ import annotations

from qdsl import graph
from qdsl.advice import advice
from qdsl.advice.trying import Bench
from qdsl.capability import load
from qdsl.causes.outputs import samples_for
from qdsl.causes.records import Ask, Causes
from qdsl.engines.asked import TARGET
from qdsl.measure import building, bundling, checking, comparing, engine_checking, measuring
from qdsl.measure.budgets import Budget
from qdsl.measure.events import Event
from qdsl.measure.measuring import Made, Measured, Standing
from qdsl.measure.pages import write_page
from qdsl.plan.gate import find_target
from qdsl.spec.plan import AS_IT_IS
from qdsl.steps.job import Job
from qdsl.steps.ranging import for_any_types
from qdsl.targets import target_of
from qdsl.targets.results import NotHere


def evaluate(job: Job) -> None:
    """The float model and the artifacts on the data of the recipe, and timed, where that is wanted.

    Needs `prepared`, `expected`, `made`; leaves `figures`. Raises QdslError evaluate-*, artifact-refused, and what is
    wrong with samples.
    """
    if job.expected is None:
        job.figures = Measured()
        return
    heard = job.stage, job.diags, job.result
    job.figures = measuring.measured(job.prepared, job.made, job.expected, *heard)


def bundle(job: Job) -> None:
    """What measures each artifact on its device, beside it; without measuring, that of an earlier build goes.

    Needs `prepared`, `expected`, `made`. Raises QdslError as `evaluate` does, and artifact-write.
    """
    for each in job.made:
        if job.expected is None:
            bundling.remove(each)
        else:
            bundling.bundle(job.prepared, each, job.expected, _exact_on(job, each))


def emulate(job: Job) -> None:
    """What the artifacts compute on other processors.

    Needs `prepared`, `processors`, `made`; leaves `checks`. Raises QdslError emulator-failed, artifact-refused.
    """
    exact_on = {each.plan.target: _exact_on(job, each) for each in job.made}
    job.checks = checking.on_processors(job.prepared, job.made, job.processors, job.tell, exact_on)
    job.diags.extend(checking.faults(job.checks))


def examine(job: Job) -> None:
    """What an engine of each artifact computes, beside what was planned, where that is wanted.

    Needs `examination`, `made`; leaves `engines`. Raises QdslError artifact-write.
    """
    found, look = {}, job.examination
    for each in (one for one in job.made if one.plan.target == TARGET):
        if look is None:
            continue
        job.tell(Event("engine", f"an engine of {TARGET}", 0, 1))
        found[TARGET] = check = engine_checking.checked(each, look)
        job.diags.extend(engine_checking.faults(check))
        job.tell(Event("engine", "", found=check))
    job.engines = found


def trace(job: Job) -> None:
    """Which tensors the error of each artifact comes from, where that is wanted, with cures that were tried.

    Needs `prepared`, `observed`, `measured`, `rounded`, `given`, `datasets`, `made`; leaves `causes`. Raises QdslError
    artifact-refused, and what is wrong with samples.
    """
    assigned = {one.decisions.plan.target: one.assigned for one in job.given}
    bench = Bench(
        job.prepared,
        job.wishes.sets,
        job.rounded.with_them(for_any_types(job)),
        job.datasets,
        (),
        job.stage("causes"),
        assigned,
    )
    wanted = [each for each in job.made if job.wishes.causes and each.seen is not None and each.plan.mode != AS_IT_IS]
    job.causes = {each.plan.target: _causes(bench, each) for each in wanted}


def _causes(bench: Bench, made: Made) -> Causes:
    """The causes of one artifact, on the samples that it is compared on."""
    from qdsl.advice.curing import recured  # loaded where it is wanted
    from qdsl.measure.causing import causes_of, inputs_for

    count = samples_for(bench.prepared.view)
    chosen, source = comparing.samples(bench.prepared, made.plan, bench.datasets, count)
    arrays, prepared = [each.arrays for each in chosen], bench.prepared
    tries = [(arrays, source)] if arrays else inputs_for(prepared.view, count, prepared)
    found = causes_of(graph.load(made.emitted.model), Ask(heard=bench.heard), tries, prepared.model)
    return recured(bench, made.plan, made.emitted, found, arrays) if arrays else found


def judge(job: Job) -> None:
    """Whether budgets hold, and `measurements.json`, which says all that is known.

    Needs `loaded`, `pinned`, `prepared`, `made`, `figures`, `causes`, `engines`; leaves `budgets`, `measurements`.
    Raises QdslError lock-moved, artifact-write.
    """
    job.budgets = tuple(_budgets(job, each) for each in job.made)
    given = job.made, job.figures, job.budgets, job.pinned.used, job.causes, job.engines
    job.measurements = measuring.write(job.directory, job.prepared, *given)
    job.tell(Event("require", "", found=job.measurements))


def _budgets(job: Job, made: Made) -> tuple[Budget, ...]:
    target = made.plan.target
    block = find_target(job.loaded.recipe, target)
    device = block.device if block is not None and block.device else ""
    decided = measuring.budgets(job.prepared, Standing.of(made), job.figures)
    return tuple(engine_checking.surviving(each, job.engines.get(target), device) for each in decided)


def advise(job: Job) -> None:
    """For each broken budget, changes that were tried.

    Needs `prepared`, `observed`, `measured`, `rounded`, `given`, `datasets`, `expected`, `made`, `budgets`; leaves
    diagnostics alone.
    """
    pairs = zip(job.made, job.budgets, strict=True)
    builds = [advice.Build(each.plan, each.verification, budgets) for each, budgets in pairs]
    assigned = {one.decisions.plan.target: one.assigned for one in job.given}
    bench = Bench(
        job.prepared,
        job.wishes.sets,
        job.rounded.with_them(for_any_types(job)),
        job.datasets,
        job.expected or (),
        job.stage("try"),
        assigned,
    )
    job.diags.extend(advice.advice(bench, builds))


def build(job: Job) -> None:
    """What devices run, made of the artifacts on this machine and timed, where that is wanted, with what it decides.

    Needs `loaded`, `made`, `measurements`; leaves `built`, `settled`. Raises QdslError artifact-write.
    """
    directory, made, known = job.directory, job.made, job.measurements
    found: list[building.TargetBuilt] = []
    for each in made if job.wishes.build else ():
        job.tell(Event("build", f"for {each.plan.target}", 0, 1))
        found.append(building.built(directory, each, known))
        job.tell(Event("build", found[-1].words))
    job.diags.extend(building.faults(found))
    job.built, tried = tuple(found), any(not isinstance(each.found, NotHere) for each in found)
    job.settled = building.settled(directory, known) if tried else known
    if tried:
        job.tell(Event("require", "", found=building.changed(known, job.settled)))


def report(job: Job) -> None:
    """The page about the build, made from its files.

    Needs `loaded`, and what `judge` wrote; leaves `page`. Raises QdslError artifact-write.
    """
    made = write_page([job.directory])
    job.diags.extend(made.warnings)
    job.page = made.path


def _exact_on(job: Job, made: Made) -> tuple[str, ...]:
    """Of a file that stays as it is, the instruction sets on which its kernels add every product exactly; `any` where
    they do so everywhere. None where a kernel reads other numbers than the file says."""
    told = {found.code for found in job.diags}
    if made.plan.mode != AS_IT_IS or "fused-otherwise" in told:
        return ()
    block = find_target(job.loaded.recipe, made.plan.target)
    if "sums-inexact" not in told and not (block is not None and block.cpus):
        return ("any",)  # of all CPUs: a recipe that names some is not told of the others
    table = load(target_of(made.plan.target).table)
    exact = (cpu for cpu in table.cpus if not any(sums.faults_on({cpu.name}) for sums in table.sums))
    return tuple(word for cpu in exact for word in cpu.isa)
