"""What happens under the lock: register the candidate, decide, move the alias or not, and record it."""

from dataclasses import dataclass, replace

import pandas as pd

from ich_mlflow.evaluation.logged import aucs_said
from ich_mlflow.parameters import AUTO
from ich_mlflow.report.render import as_description
from ich_mlflow.serving.smoke_test import serving_fault
from ich_mlflow.stages.common.results import CARD_FILE
from ich_mlflow.stages.promote.decision import Decision
from ich_mlflow.stages.promote.examination import Candidate, Champion, Examined
from ich_mlflow.stages.promote.facts import Facts, Limits
from ich_mlflow.stages.promote.gates import BY_INTERVAL, COMPARING, decide
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.tracking.audit import PROMOTED, REFUSED, begin_record, finish_record
from ich_mlflow.tracking.lock import Held
from ich_mlflow.tracking.looks import CHAMPION_TAG, HOME_DIGEST_TAG, Look, look_of
from ich_mlflow.tracking.registry import CHAMPION, alias_version, run_artifact
from ich_mlflow.tracking.run import Run
from ich_mlflow.tracking.versions import (
    REPLACED,
    Intent,
    move_champion,
    recover,
    refuse,
    register_candidate,
    version_of,
)


@dataclass(frozen=True, kw_only=True)
class Act:
    """A candidate that was examined, and the champion that it was compared with, None without one."""

    options: PromoteOptions
    run: Run
    name: str
    candidate: Candidate
    champion: Champion | None
    examined: Examined
    author: str

    def decide(self, held: Held) -> Decision:
        """Decide under the lock by the champion that is one now, and do what was decided."""
        for line in recover(self.name, who=self.author):
            print(line)
        champion = alias_version(self.name, CHAMPION)
        facts = replace(self.examined.facts, registration=self._registration(champion))
        if facts.registration:  # nothing is registered twice, or beside what came in between
            version = version_of(self.name, self.candidate.run.model_uri) or ""
        else:
            version = register_candidate(
                self.candidate.run, model_name=self.name, tags=self._tags(), description=self._description()
            )
            facts = self._tried(facts, version)
        decision = decide(facts, limits_of(self.options), replace=self.options.replace)
        look = self._look()
        self._log(decision, look)
        if decision.promote:
            self._promote(decision, look, champion or "", version, held)
        else:
            self._refuse(decision, look, champion or "", version)
        return decision

    def _registration(self, champion: str | None) -> str:
        compared_with = None if self.champion is None else self.champion.version
        if compared_with != champion:
            return (
                f"the {CHAMPION} became version {champion} while version {compared_with} was compared with: run "
                "promote again"
            )
        if champion is not None and version_of(self.name, self.candidate.run.model_uri) == champion:
            return f"version {champion}, the {CHAMPION}, is this very model"
        return ""

    def _tried(self, facts: Facts, version: str) -> Facts:
        if not self.options.smoke:
            return facts
        uri = f"models:/{self.name}/{version}"
        print(f"serving {uri} to see that it answers")
        return replace(facts, smoke=serving_fault(uri, self.candidate.model.classifier, self.examined.dicom))

    def _look(self) -> Look:
        beside = filter(None, [self._compared_tags().get(CHAMPION_TAG)])
        return look_of(self.candidate.run.run_id, self.examined.facts.digest, beside=beside)

    def _log(self, decision: Decision, look: Look) -> None:
        self.run.dictionary({**decision.to_dict(), "look": look.to_dict()}, "decision.json")
        self.run.table(pd.DataFrame(decision.to_dict()["gates"]), "tables/gates.json")
        self.run.tags({"ich.promoted": decision.promote, "ich.why": decision.why()[:5000], **look.tags()})
        rival = self.examined.facts.champion or "nobody"
        print(f"{self.name}: {self.candidate.shown} against {rival}")
        self.run.call(self.name, "promoted" if decision.promote else "refused")
        self.run.describe(
            f"**Decision**: {'promoted' if decision.promote else 'refused'}. {decision.why()}",
            f"**Candidate**: {self.candidate.shown}, trained in run `{self.candidate.run.run_id}`; {look.said}",
            f"**Against**: {rival}",
        )
        print("\n".join(decision.lines()))
        print(f"{self.candidate.shown} is {look.said} ({look.digest[:12]})")

    def _promote(self, decision: Decision, look: Look, before: str, version: str, held: Held) -> None:
        record = self._record(PROMOTED, decision, look, before, version)
        intent = Intent(before=before, after=version, previous=before, state_before=REPLACED, record=record)
        move_champion(self.name, intent, held)
        print(f"{self.name} version {version} is the {CHAMPION} now: models:/{self.name}@{CHAMPION}")

    def _refuse(self, decision: Decision, look: Look, before: str, version: str) -> None:
        if version and version != before:
            refuse(self.name, version, decision.why())
        finish_record(self._record(REFUSED, decision, look, before, version))
        stays = f"version {before} stays the {CHAMPION}" if before else f"there is no {CHAMPION}"
        print(f"{self.name}: refused; {stays}\n{what_helps(decision)}")

    def _record(self, action: str, decision: Decision, look: Look, before: str, version: str) -> str:
        given = given_reason(self.options)
        record = begin_record(
            action=action,
            model_name=self.name,
            before=before,
            after=version,
            who=self.author,
            why=f"{given}. {decision.why()}" if given else decision.why(),
            run_id=self.run.run_id,
            trained_run=self.candidate.run.run_id,
            details={**decision.to_dict(), "look": look.to_dict()},
            about={**look.tags(), **self._compared_tags()},
        )
        self.run.tags({"ich.from": before, "ich.to": version, "ich.audit_run": record})
        return record

    def _compared_tags(self) -> dict[str, str]:
        """Whom the candidate was compared with, and where else: looks at test splits too."""
        versus = self.examined.facts.versus
        if self.champion is None or versus is None:
            return {}
        home = {} if versus.home.why_not else {HOME_DIGEST_TAG: versus.home.digest}
        return {CHAMPION_TAG: self.champion.trained_run, **home}

    def _tags(self) -> dict[str, str]:
        wanted = ("hp.recipe", "hp.num_classes", "data.source", "data.digest", "weights.start")
        params = self.candidate.run.params
        facts = self.examined.facts
        auc = {} if facts.macro_auc is None else {"ich.test/auc/macro": f"{facts.macro_auc:.4f}"}
        evaluated = self.candidate.evaluated
        return {
            **{f"ich.{name}": params[name] for name in wanted if name in params},
            **auc,
            **aucs_said(evaluated.slices, evaluated.exams),
            "ich.promote_run": self.run.run_id,
        }

    def _description(self) -> str:
        evaluated = self.candidate.evaluated
        card = run_artifact(evaluated.run_id, CARD_FILE)
        assert card is not None
        return as_description(card.decode(), run_id=evaluated.run_id)


def what_helps(decision: Decision) -> str:
    """What a refused candidate's author can do, in a line."""
    ways = ["a better model"]
    if set(decision.failed) & set(BY_INTERVAL):
        ways.append(
            "a test split with more patients, whose intervals are narrower (promote -P data=<a stored set>)"
        )
    if set(decision.failed) <= set(COMPARING):
        ways.append("-P replace=true, which promotes all the same and keeps on record what failed")
    return f"what would help: {'; or '.join(ways)}"


def given_reason(options: PromoteOptions) -> str:
    """The user's own words, without a full stop; '' where there are none."""
    return "" if options.reason == AUTO else options.reason.strip().rstrip(".")


def limits_of(options: PromoteOptions) -> Limits:
    """What the options demand of a candidate."""
    return Limits(
        require=options.require,
        margin=options.margin,
        label_margin=options.label_margin,
        calibration_margin=options.calibration_margin,
        intercept_margin=options.intercept_margin,
        max_latency_ms=options.max_latency_ms,
        max_size_mb=options.max_size_mb,
        same_data=options.same_data,
    )
