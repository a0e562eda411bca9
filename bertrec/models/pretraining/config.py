"""The settings of a pre-training: those of the model that comes out of it, and what it learns from."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bertrec.core.config import Config
from bertrec.core.plugins import Registry
from bertrec.heads.config import CodeConfig, HeadConfig, ItemConfig
from bertrec.models.sequential.config import MatchConfig, ModelConfig
from bertrec.training.config import TrainConfig

TASKS = Registry(
    what="pre-training task",
    base="bertrec.models.pretraining.tasks:Task",
    group="bertrec.tasks",
    own={
        "item": "bertrec.models.pretraining.tasks:ItemTask",
        "sequence": "bertrec.models.pretraining.tasks:SequenceTask",
        "made-up": "bertrec.models.pretraining.tasks:MadeUpTask",
        "masked": "bertrec.models.pretraining.user_tasks:MaskedTask",
        "next": "bertrec.models.pretraining.user_tasks:NextTask",
        "same-user": "bertrec.models.pretraining.same_user:SameUserTask",
        "attributes": "bertrec.models.pretraining.attributes:AttributesTask",
        "reviews": "bertrec.models.pretraining.reviews:ReviewsTask",
    },
)
"""The values of ``pretrain.tasks``."""

SOURCES = Registry(
    what="item source",
    base="bertrec.models.pretraining.sources:ItemSource",
    group="bertrec.item_sources",
    own={
        "text": "bertrec.models.pretraining.sources:TextItems",
        "codes": "bertrec.models.pretraining.code_items:CodeItems",
    },
)
"""The values of ``pretrain.items``."""


class PretrainConfig(Config):
    """What is learned from the sequences of several data sets."""

    tasks: tuple[str, ...] = Field(
        ("item", "sequence"),
        min_length=1,
        description="What is learned: the item that comes next (item), which sequence is this one with a part left out "
        "(sequence), or, of codes, the item that comes next told from a made-up one too (made-up, as VQ-Rec); of users, an item "
        "hidden in a sequence (masked), the last ones (next), which two periods are of one user (same-user), categories and times "
        "of a hidden item (attributes), words and rating of a review (reviews); or tasks of another package, package.module:Class.",
        json_schema_extra={"examples": [list(TASKS.own)]},
    )
    items: str = Field(
        "text",
        description="Where item vectors come from: an adaptor over whitened text vectors (text), or codes of these for "
        "--model vqrec (codes, with pretrain.tasks=made-up); or a source of another package, package.module:Class.",
        json_schema_extra={"examples": list(SOURCES.own)},
    )
    targets: int = Field(
        2048,
        ge=2,
        le=1_000_000,
        description="Positions with a target in a step, about, in place of train.batch_size; each is a negative of the others, so that a "
        "step takes memory and time by their square.",
    )
    negatives: Literal["batch", "domain"] = Field(
        "batch",
        description="What the next item is told from: the other targets of the batch, whatever their data set (batch, as published), or "
        "all training items of the same data set and the batch's targets of others (domain).",
    )
    debias: bool = Field(
        True,
        description="Take from an item's logit the logarithm of its share of the training interactions, so that what is in many batches "
        "is not pushed down for it (negatives=batch; the correction of Yi et al., RecSys 2019).",
    )
    sequence_weight: float = Field(1e-3, ge=0, description="What the loss of the sequence task is multiplied by.")
    item_drop_batches: float = Field(
        0.9, ge=0, le=1, description="Share of the batches in which items are left out of a sequence; in the others words are."
    )
    item_drop: float = Field(0.2, ge=0, lt=1, description="Share of a sequence's items that are left out; the first one stays.")
    word_drop: float = Field(0.2, ge=0, le=1, description="Share of a sequence's items that say less, where words are left out.")
    words: float = Field(0.15, ge=0, lt=1, description="Share of the words that are left out of a text that says less.")
    made_up: float = Field(0.75, gt=0, le=1, description="Share of an item's codes that are others in an item that is made up.")
    masked_weight: float = Field(1.0, ge=0, description="What the loss of the task masked is multiplied by.")
    next_weight: float = Field(1.0, ge=0, description="What the loss of the task next is multiplied by.")
    same_user_weight: float = Field(1.0, ge=0, description="What the loss of the task same-user is multiplied by.")
    attributes_weight: float = Field(1.0, ge=0, description="What the loss of the task attributes is multiplied by.")
    reviews_weight: float = Field(1.0, ge=0, description="What the loss of the task reviews is multiplied by.")
    sampled: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Items of other users of the batch that an item is told from by the tasks masked and next; PTUM has 4.",
    )
    removed: int = Field(2, ge=1, le=100, description="How many of a sequence's last items the task next removes and predicts.")
    pool: int = Field(
        2048,
        ge=0,
        le=1_000_000,
        description="Vectors of periods of earlier steps that are kept for the task same-user as negatives; 0 takes the batch's alone.",
    )
    hard: int = Field(
        64, ge=1, le=1_000_000, description="Periods of other users that one is told from by the task same-user: the nearest."
    )
    too_hard: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Share of the other users' periods, the very nearest ones, that are passed over before these are taken.",
    )
    attributes: tuple[str, ...] = Field(
        (),
        description="What the task attributes predicts of a hidden item: columns of the item table, and year, month, weekday and hour "
        "where interactions have times; none named takes the usual columns of labels and the times that there are.",
        json_schema_extra={"examples": [["categories", "month", "weekday"]]},
    )
    review_words: int = Field(
        500, ge=1, le=100_000, description="Words that the task reviews predicts: those whose reviews differ most in their rating."
    )
    rating_weight: float = Field(1.0, ge=0, description="What the rating's loss is multiplied by within the task reviews.")
    validation_users: int = Field(
        2000, ge=0, le=10_000_000, description="Validation users of each data set who judge an epoch; 0 keeps the last one unjudged."
    )

    @field_validator("tasks", "attributes", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Take names with commas between them, as a command line has them."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for name in values:
            TASKS.checked(name)
        if len(set(values)) < len(values):
            raise ValueError(f"a task stands twice in {', '.join(values)}: leave one out")
        return values

    @field_validator("attributes")
    @classmethod
    def _each_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) < len(values):
            raise ValueError(f"an attribute stands twice in {', '.join(values)}: leave one out")
        return values

    @field_validator("items")
    @classmethod
    def _known_source(cls, value: str) -> str:
        return SOURCES.checked(value)

    @model_validator(mode="after")
    def _altered_alike(self) -> Self:
        if self.items == "codes" and "sequence" in self.tasks:
            raise ValueError("pretrain.items=codes has no words for the task sequence to leave out: set pretrain.tasks to made-up")
        if self.items == "text" and "made-up" in self.tasks:
            raise ValueError("the task made-up makes up codes: set pretrain.items to codes, or leave the task out")
        if self.negatives == "domain" and "made-up" in self.tasks and "item" not in self.tasks:
            raise ValueError("the task made-up tells from the batch's targets: leave pretrain.negatives at batch")
        return self


class PretrainingConfig(ModelConfig):
    """All settings of a pre-training: those of the model, and ``pretrain.*``."""

    item: ItemConfig = Field(ItemConfig(input="text"), description="From an item's text to its vector; ids mean nothing elsewhere.")
    head: HeadConfig = Field(HeadConfig(), description="From a history to a user's vector.")
    match: MatchConfig = Field(
        MatchConfig(behaviour=0, solved=0, new_items="off"),
        description="Near texts that lift items, weighed on validation users after training.",
    )
    train: TrainConfig = Field(TrainConfig(learning_rate=2e-3, schedule="cosine", epochs=16, patience=0), description="The training loop.")
    codes: CodeConfig = Field(CodeConfig(), description="How an item is written as codes, with pretrain.items=codes.")
    pretrain: PretrainConfig = Field(PretrainConfig(), description="What is learned from the sequences.")

    @model_validator(mode="after")
    def _knows_no_ids(self) -> Self:
        from bertrec.data.readers.vectors import is_vector_file

        if self.item.input != "text":
            raise ValueError(
                f"item.input is {self.item.input}: pre-training has items by their text alone, since ids mean nothing elsewhere"
            )
        if self.item.fields != "together":
            raise ValueError("item.fields=apart needs the same text fields in all data sets: set it to together")
        if self.encoder.tune != "frozen":
            raise ValueError(f"encoder.tune is {self.encoder.tune}: pre-training reads the vectors of a frozen encoder")
        if is_vector_file(self.encoder.name):
            raise ValueError(f"encoder.name is {self.encoder.name}: pre-training reads texts, also thinned ones: name an encoder")
        if self.train.batch_size:
            raise ValueError("train.batch_size counts sequences, and a step here is as long as pretrain.targets says: set that one")
        if self.head.freeze or self.match.new_items != "off":
            raise ValueError("head.freeze and match.new_items are for what comes after the pre-training: leave them as they are")
        return self

    @model_validator(mode="after")
    def _reads_what_is_set(self) -> Self:
        tasks, longest = self.pretrain.tasks, self.head.max_history
        if self.loss.kind != "full" or self.loss.contrast != "none" or self.loss.label_smoothing:
            raise ValueError("loss.kind, loss.contrast and loss.label_smoothing are for training: pretrain.tasks says what is learned here")
        if self.train.metric != TrainConfig().metric:
            raise ValueError("train.metric: a pre-training is judged by NDCG@10 within each data set: leave it out")
        if self.pretrain.items == "text" and self.codes != CodeConfig():
            raise ValueError("codes.* are for pretrain.items=codes: leave them out, or set that")
        if "next" in tasks and self.pretrain.removed >= longest:
            raise ValueError(f"pretrain.removed is {self.pretrain.removed}: the task next needs it below head.max_history, {longest}")
        if "same-user" in tasks and longest < 2:
            raise ValueError("the task same-user halves what the head reads: set head.max_history to 2 or more")
        return self

    def of_model(self, kind: type[ModelConfig]) -> ModelConfig:
        """Return the settings of the model that comes out, of this class."""
        return kind.from_dict({name: value for name, value in self.to_dict().items() if name in kind.model_fields})
