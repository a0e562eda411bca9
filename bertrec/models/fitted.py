"""What retrievers and rankers share: settings, a catalogue, what was learned of it, and a folder to keep all that in."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from bertrec.core.checks import expect, expect_path, shown
from bertrec.core.config import SEEDS, Config
from bertrec.core.described import Described, Preview
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import atomic_folder, sha256_text
from bertrec.core.foreign import Check, guard_results, mapping, plain
from bertrec.core.plugins import Registry, path_of, vouched
from bertrec.core.together import settle
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.registry import require_path
from bertrec.models.card import CardFacts, card_text, write_card
from bertrec.models.folder import ABOUT, WEIGHTS, SavedParts, check_foreign_parts, hash_tensors, read_about, read_parts, write_parts
from bertrec.models.hub import MAX_GIB, fetch, is_repo, push
from bertrec.training.log import TrainLog

_KEPT = "kept."  # begins the names of tensors that are saved beside what was learned


class NoSettings(Config):
    """There is nothing to set."""


class Fitted(Described, ABC):
    """Something with settings that is fitted to data, saved and loaded.

    Args:
        config: the settings; None takes the defaults.

    Attributes:
        name: the class's name, by which `registry` finds it and saved folders call it.
        config_class: of the settings.
        item_inputs: what ``--item-input`` may say of it.
        config: the settings.
        train_log: what happened in the last fit; None before it, and for a class without training.
        origin: ``user/name@commit`` of a model that came from the hub; None for any other, and after a fit.
    """

    registry: ClassVar[Registry]
    name: ClassVar[str]
    config_class: ClassVar[type[Config]] = NoSettings
    item_inputs: ClassVar[tuple[str, ...]] = ()
    fit_options: ClassVar[frozenset[str]] = frozenset()
    ready_by: ClassVar[str] = "call fit(…) or from_pretrained(…)"
    config: Config
    train_log: TrainLog | None = None
    origin: str | None = None
    task: ClassVar[str] = "other"
    """Of the Hugging Face hub's list, for the card."""
    _catalog: ItemCatalog | None = None

    results: ClassVar[Mapping[str, Check]] = {"state_dict": mapping, "saved_values": plain}
    """What methods of classes of other packages must return."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard_results(cls, cls.results)

    def __init__(self, config: Config | None = None) -> None:
        call = f"call {type(self).__name__}.configured(settings={{name: value}}), which takes flat names"
        expect(config, self.config_class, f"{type(self).__name__}: config", optional=True, error=ConfigError, mend=call)
        self.config = self.config_class() if config is None else config

    def _facts(self) -> dict[str, object]:
        return {"fitted": False} if self._catalog is None else {"items": len(self._catalog), "origin": self.origin}

    def _preview(self) -> Preview:
        usual, own = type(self.config)().to_flat(), self.config.to_flat()
        return Preview(["setting", "value"], [[name, value] for name, value in own.items() if value != usual.get(name)])

    @property
    def catalog(self) -> ItemCatalog:
        """The items; `fit` sets it.

        Raises:
            ModelError: it was not fitted.
        """
        if self._catalog is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: {self.ready_by} first")
        return self._catalog

    @catalog.setter
    def catalog(self, catalog: ItemCatalog) -> None:
        self._catalog = catalog

    @classmethod
    def default_config(cls, *, item_input: Any = None, tune: str = "frozen") -> Config:
        """Return the settings that it starts from.

        Args:
            item_input: ``id``, ``text`` or ``text+id``; None takes its own.
            tune: how deep its encoder learns.

        Raises:
            ConfigError: it has no such item input, or no encoder to tune.
        """
        if item_input not in (None, *cls.item_inputs):
            raise ConfigError(f"{cls.name} has no --item-input {item_input}: leave the option out")
        config = cls.config_class()
        if tune == "frozen":
            return config
        if "encoder.tune" not in config.to_flat():
            raise ConfigError(f"{cls.name} has no encoder to tune: leave out --tune")
        return config.updated({"encoder.tune": tune})

    @classmethod
    def configured(cls, **given: Any) -> Self:
        """Make one that is not fitted yet; the arguments are those of `config_from`.

        Raises:
            ModelError: the encoder is named by a path, and there is no such folder.
        """
        made = cls(cls.config_from(**given))
        require_path(made.config.to_flat().get("encoder.name"))
        return made

    @classmethod
    def config_from(
        cls,
        *,
        item_input: str | None = None,
        tune: str | None = None,
        settings: Mapping[str, Any] | None = None,
        variant: str = "",
        seed: int | None = None,
    ) -> Config:
        """Return the settings of one.

        Args:
            item_input: see `default_config`.
            tune: see `default_config`.
            settings: flat dotted names and values that replace defaults.
            variant: what follows the name after a colon, for classes that come in several forms.
            seed: of what it draws, where the settings name no seed and it draws anything.

        Raises:
            ConfigError: an unknown setting (with the nearest right one), or a combination that it does not have.
        """
        given = dict(settings or {})
        config = cls.default_config(item_input=item_input or given.get("item.input"), tune=tune or given.get("encoder.tune") or "frozen")
        asked = {"item.input": item_input, "encoder.tune": tune}
        given = {name: value for name, value in asked.items() if value is not None and name in config.to_flat()} | given
        if variant:
            config = cls.variant_of(config, variant)
        return cls.with_settings(config, seeded(config, given, seed))

    @classmethod
    def variant_of(cls, config: Config, variant: str) -> Config:
        """Return the settings of one of several forms, which is named after a colon.

        Raises:
            ConfigError: there are no several forms, or none of that name.
        """
        raise ConfigError(f"unknown {cls.registry.what} '{cls.name}:{variant}': {cls.name} comes in one form")

    @classmethod
    def with_settings(cls, config: Config, given: Mapping[str, Any]) -> Config:
        """Return the settings with those of ``given`` replaced, by the names that users write.

        Raises:
            ConfigError: an unknown setting (with the nearest right one), or a value outside its range.
        """
        return config.updated(given)

    @classmethod
    def flat_settings(cls, config: Config) -> dict[str, Any]:
        """Return the settings by the flat names that `config_from` takes, for a search."""
        return config.to_flat()

    @classmethod  # most can be made so
    def check_search(cls, config: Config) -> None:
        """See that a model with these settings can be made of its settings alone, as a search makes it.

        Raises:
            ConfigError: it needs more.
        """

    def reset(self) -> None:
        """Be as before any fit."""
        self._catalog = self.train_log = self.origin = None

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Where a fit ends with an error, leave nothing of it: half-trained weights must not pass for a fitted model."""
        try:
            yield
        except BaseException:
            self.reset()
            raise

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return what was learned, by name."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave; the catalogue is set already."""

    def kept_tensors(self) -> dict[str, Tensor]:
        """Return what is saved beside what was learned, by name; no score of a known history depends on it, so no hash of a model does."""
        return {}

    def take_kept(self, kept: Mapping[str, Tensor]) -> None:  # most keep nothing
        """Take what `kept_tensors` gave; names may be missing in folders of before."""

    def kept_values(self) -> dict[str, Any]:
        """Return JSON values that are saved as ``kept``, beside those of `saved_values`; no score depends on them."""
        return {}

    def take_kept_values(self, kept: Mapping[str, Any]) -> None:  # most keep nothing
        """Take what `kept_values` gave; names may be missing in folders of before."""

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        return sha256_text(hash_tensors(self.state_dict()), self.config.model_dump_json(), self.catalog.content_hash)

    def saved_values(self) -> dict[str, Any]:
        """Return further JSON values for ``config.json``; `from_parts` finds them in ``parts.about``."""
        return {} if self.train_log is None else {"train_log": self.train_log.to_dict()}

    def save_folders(self, folder: Path) -> None:  # most have none
        """Write parts that have a folder of their own below ``folder``; there are none by default."""

    def save_pretrained(self, folder: str | Path, *, record: Mapping[str, Any] | None = None) -> None:
        """Write settings, catalogue and what was learned as safetensors and JSON, and a model card, whole or not at all.

        Args:
            folder: to make or to replace.
            record: what is known of its run beside the model, for the card: see `card`.

        Raises:
            ModelError: it was not fitted.
        """
        catalog = self.catalog
        with atomic_folder(folder, marker=WEIGHTS) as partial:
            self.save_folders(partial)
            values = {**self.saved_values(), "kept": self.kept_values()}
            write_parts(partial, type(self), config=self.config.to_dict(), catalog=catalog, tensors=self.saved_tensors(), **values)
            write_card(partial, self.card(record))

    def card(self, record: Mapping[str, Any] | None = None) -> str:
        """Return the model card: Markdown with the metadata of the Hugging Face hub.

        Args:
            record: of a run, as in its ``run.json``; see `bertrec.models.card.card_text`. What is not in it is said to be not known.

        Raises:
            ModelError: it was not fitted, or the record is damaged.
        """
        return card_text(self.card_facts(), record)

    def card_facts(self) -> CardFacts:
        """Return what the card says of the model itself."""
        usual, own, catalog = type(self.config)().to_flat(), self.config.to_flat(), self.catalog
        tune = own.get("encoder.tune", "frozen")
        return CardFacts(
            model=self.name,
            task=self.task,
            items=len(catalog),
            fields=list(catalog.fields),
            attributes=[name for name in catalog.attribute_names if name not in catalog.fields],
            model_hash=self.model_hash,
            settings={name: value for name, value in own.items() if value != usual.get(name)},
            encoder=own.get("encoder.name"),
            tuned=tune != "frozen",
            epochs=len(self.train_log.epochs) if self.train_log is not None else None,
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        revision: str | None = None,
        token: str | None = None,
        commit_message: str = "Model of bertrec",
        record: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish the model on the Hugging Face hub: what `save_pretrained` writes, and nothing else.

        Args:
            repo_id: ``user/name``; made where it is not there.
            private: whether only its owners may see it.
            revision: a branch; None takes the main one.
            token: of the hub; None takes the one that this machine is logged in with.
            commit_message: of the one commit.
            record: see `save_pretrained`.

        Returns:
            ``user/name@commit``.

        Raises:
            ModelError: it was not fitted, the repository holds something else or is public, or the hub refuses or cannot be reached.
        """
        with tempfile.TemporaryDirectory(prefix="bertrec-") as temporary:
            folder = Path(temporary) / "model"
            self.save_pretrained(folder, record=record)
            return push(folder, repo_id, private=private, revision=revision, token=token, message=commit_message)

    def saved_tensors(self) -> dict[str, Tensor]:
        """Return all tensors under the names that they are saved by."""
        return {**self.state_dict(), **{f"{_KEPT}{name}": value for name, value in self.kept_tensors().items()}}

    @classmethod
    def from_parts(cls, parts: SavedParts) -> Self:
        """Rebuild from what was saved."""
        model = cls(cls.config_class.from_dict(parts.about["config"]))
        model.restore(parts)
        return model

    def restore(self, parts: SavedParts) -> None:
        """Take catalogue, log and weights of what was saved."""
        self.catalog = parts.catalog
        self.train_log = TrainLog.from_dict(parts.about["train_log"]) if parts.about.get("train_log") else None
        self.take_kept_values(parts.about.get("kept", {}))
        self.load_state_dict({name: value for name, value in parts.tensors.items() if not name.startswith(_KEPT)})
        self.take_kept({name.removeprefix(_KEPT): value for name, value in parts.tensors.items() if name.startswith(_KEPT)})

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        classes: str | type | Iterable[str | type] = (),
        revision: str | None = None,
        token: str | None = None,
        max_gib: float = MAX_GIB,
    ) -> Self:
        """Read what ``save_pretrained`` wrote; no code from the folder is run, and the folder chooses no code to import.

        Called on a base class, it reads any model whose class is ours or that of an installed package with an entry point; any other class
        has to be named. Called on a class itself, it reads that class.

        Args:
            folder: of the model, or of the run that holds it as ``model``; or the name of a repository on the Hugging Face hub,
                ``user/name``, where no folder has that name.
            classes: classes of other packages that the caller vouches for, or their dotted paths: the model's own, and those that its
                settings name.
            revision: branch, tag or commit of the repository; only a commit is the same files for ever.
            token: of the hub; None takes the one that this machine is logged in with.
            max_gib: what is fetched from the hub at most, in GiB.

        Raises:
            ModelError: a file is missing or damaged, or the class is not known; the text names it. Or the hub has no such model, one that
                is too large, or cannot be reached.
            ConfigError: ``classes`` or ``max_gib`` is something else.
        """
        given = (*_given_classes(classes, cls.__name__), *vouched())
        if not is_repo(folder):
            place = expect_path(folder, f"{cls.__name__}.from_pretrained: folder", error=ModelError)
            if revision is not None:
                raise ModelError(f"{folder} is no name of a repository on the hub, so it has no revision: leave revision out")
            return cls._from_folder(_model_in(place), given)
        fetched = fetch(str(folder), revision=revision, token=token, max_gib=max_gib)
        model = cls._from_folder(fetched.folder, given)
        model.origin = fetched.origin
        return model

    @classmethod
    def _from_folder(cls, folder: Path, trusted: tuple[str | type, ...]) -> Self:
        about = read_about(folder)
        kind = cls._class_of(about, trusted, folder)
        paths = [path_of(one) if isinstance(one, type) else one for one in trusted]
        check_foreign_parts(kind.config_class, about["config"], paths, str(folder))
        parts = read_parts(folder, trusted)
        try:
            return kind.from_parts(parts)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{folder / ABOUT} does not fit the files beside it: {' '.join(repr(error).split())}") from error

    @classmethod
    def _class_of(cls, about: Mapping[str, Any], trusted: tuple[str | type, ...], folder: Path) -> type[Self]:
        name, path = str(about["class"]), about.get("path")
        if getattr(cls, "name", None) is not None:  # called on a class of its own, which is thereby vouched for
            given: str | type | None = cls
        else:
            given = next((one for one in trusted if (path_of(one) if isinstance(one, type) else one) == path), None)
        return cls.registry.find_saved(name, path, given, str(folder))

    def check_fit_options(self, options: Mapping[str, Any]) -> None:
        """Refuse options of ``fit`` that nothing of this kind has; those that this very class has no use for are ignored.

        Raises:
            ConfigError: there is one.
        """
        if unknown := options.keys() - self.fit_options:
            raise ConfigError(f"{type(self).__name__}.fit has no option '{min(unknown)}'")


def _model_in(folder: Path) -> Path:
    """Return the folder of the model: that of a run holds it one below. A run that was left between two states is put right."""
    for home in (folder, folder.parent):
        settle(home)
    return folder / "model" if not (folder / ABOUT).exists() and (folder / "model" / ABOUT).exists() else folder


def _given_classes(classes: object, caller: str) -> tuple[str | type, ...]:
    given = (classes,) if isinstance(classes, str | type) or not isinstance(classes, Iterable) else tuple(classes)
    for one in given:
        if not isinstance(one, str | type):
            wanted = "give classes, or their dotted paths such as 'package.module:Class', alone or in a list"
            raise ConfigError(f"{caller}.from_pretrained: classes holds {shown(one)}: {wanted}")
    return given


def seeded(config: Config, settings: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """Return the settings with the seed in its place, where they name none and the configuration has one."""
    known = config.to_flat()
    place = next((name for name in SEEDS if name in known), None)
    if seed is None or place is None or place in settings:
        return dict(settings)
    return {**settings, place: seed}
