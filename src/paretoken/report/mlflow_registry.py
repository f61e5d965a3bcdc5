"""A run's prompts in MLflow's Prompt Registry, and its variants as logged models.

All prompts of an experiment are versions of one registered prompt, so that a service which loads
`prompts:/product-copy@champion` follows what experiments find. Each prompt's own name is an alias of the version that
was tried last.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from paretoken.prompts.library import templates_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from paretoken.core.trials import Variant

CHAMPION = "champion"
MOST_CHARS = 200
_TAG, _CROWNED = "paretoken.prompt", "paretoken.crowned_at"


class PromptBook:
    """The registered prompt of one experiment.

    Args:
        client: MLflow.
        experiment: Its name.
        experiment_id: MLflow's id of it, in whose pages the prompt is listed.
        question: What it asks.
    """

    def __init__(self, client: MlflowClient, experiment: str, experiment_id: str, question: str) -> None:
        self._client, self.name = client, plain_name(experiment)
        registered = client.get_prompt(self.name)
        if registered is None:
            registered = client.create_prompt(self.name, tags={"question": question[:500]})
        self._versions = self._known()
        self._crowned_at = registered.tags.get(_CROWNED, "")
        client.set_prompt_tag(self.name, "_mlflow_experiment_ids", f",{experiment_id},")

    def register(self, prompt: str, text: str) -> None:
        """Make a prompt a version, where its content is new, and give the version its name.

        Args:
            prompt: `name@hash`.
            text: Its sections with their headings.
        """
        if prompt not in self._versions:
            chat = [{"role": role, "content": template} for role, template in templates_of(text)]
            made = self._client.register_prompt(self.name, chat, commit_message=prompt, tags={_TAG: prompt})
            self._versions[prompt] = int(made.version)
        self._call(prompt.partition("@")[0], prompt)

    def crown(self, prompt: str, started_at: str) -> None:
        """Make this one the champion, unless a run that began later has made one.

        Args:
            prompt: `name@hash`.
            started_at: When the run began, ISO 8601 in UTC.
        """
        if started_at >= self._crowned_at:
            self._client.set_prompt_alias(self.name, CHAMPION, self._versions[prompt])
            self._client.set_prompt_tag(self.name, _CROWNED, started_at)

    def link(self, prompt: str) -> str:
        """What MLflow's UI follows from a run or a trace to the prompt, as JSON."""
        return json.dumps([{"name": self.name, "version": str(self._versions[prompt])}])

    def _call(self, name: str, prompt: str) -> None:
        self._client.set_prompt_alias(self.name, alias_of(name), self._versions[prompt])

    def _known(self) -> dict[str, int]:
        """Versions that are registered, by `name@hash`."""
        found: dict[str, int] = {}
        token: str | None = None
        while True:
            page = self._client.search_prompt_versions(self.name, page_token=token)
            found |= {known.tags[_TAG]: int(known.version) for known in page if _TAG in known.tags}
            if not (token := page.token):
                return found


def log_variant(
    client: MlflowClient, experiment: str, run_id: str, label: str, variant: Variant, tags: Mapping[str, str]
) -> str:
    """A variant as a logged model.

    Args:
        client: MLflow.
        experiment: MLflow's experiment id.
        run_id: MLflow's run of the variant.
        label: Its label.
        variant: It.
        tags: Of the model.

    Returns:
        MLflow's id of it.
    """
    params = {"prompt": variant.prompt, "model": variant.model} | {key: str(value) for key, value in variant.params}
    model = client.create_logged_model(
        experiment, re.sub(r"""[/:.%"']""", "_", label), run_id, dict(tags), params, "prompt and model"
    )
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def alias_of(name: str) -> str:
    """The alias of a prompt: its name, or `prompt-NAME` where MLflow gives the name a meaning of its own, as `v1`.

    Signs that MLflow does not take are `_`, with a hash behind them, so that no two prompts share an alias.
    """
    if re.fullmatch(rf"(prompt-)*({CHAMPION}|latest|v\d+)", name, re.IGNORECASE):
        return f"prompt-{name}"
    return _plain(name, r"[^\w-]")


def plain_name(name: str) -> str:
    """A name of letters, digits, `_`, `-` and `.`, which is all that MLflow takes; with a hash where that says less."""
    return _plain(name, r"[^A-Za-z0-9_.-]")


def _plain(name: str, refused: str) -> str:
    plain = re.sub(refused, "_", name)[:MOST_CHARS]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
