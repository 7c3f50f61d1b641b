"""Models of transformers as experts: built small from configurations, saved, and run from a card by their path."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card, parse_card
from medtrinity25m.roi.neural.hub_models import transformers_expert
from medtrinity25m.roi.protocol import Finding, Query
from tiny_models import need

pytestmark = need("torch", "transformers")
WORDS = ["pneumonia", "lung", "nodule", "[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "heart"]


def detr(folder: Path) -> None:
    """A DETR with a ResNet of four layers, two classes, five queries."""
    import transformers as tf
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    backbone = tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=["stage4"])
    config = tf.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=16,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=5,
        id2label={0: "nodule", 1: "odd thing"}, label2id={"nodule": 0, "odd thing": 1},
    )  # fmt: skip
    tf.DetrForObjectDetection(config).save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def segformer(folder: Path) -> None:
    """A SegFormer with three classes."""
    import transformers as tf
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    config = tf.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8, sr_ratios=[1] * 4,
        id2label={0: "nothing", 1: "lung", 2: "heart"}, label2id={"nothing": 0, "lung": 1, "heart": 2},
    )  # fmt: skip
    tf.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


def sam(folder: Path) -> None:
    """A SAM of one layer on 64 x 64 pixels."""
    import transformers as tf
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    vision = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 8,
        "output_channels": 16, "global_attn_indexes": [0], "window_size": 4, "mlp_dim": 16, "num_pos_feats": 8,
    }  # fmt: skip
    prompts = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    decoder = {
        "hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "iou_head_hidden_dim": 16,
        "iou_head_depth": 2,
    }  # fmt: skip
    config = tf.SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    tf.SamModel(config).save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)


def mask2former(folder: Path) -> None:
    """A Mask2Former with a Swin of four layers, two classes, four queries."""
    import transformers as tf
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    backbone = tf.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = tf.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=4,
        id2label={0: "lung", 1: "heart"}, label2id={"lung": 0, "heart": 1},
    )  # fmt: skip
    tf.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}, num_labels=2).save_pretrained(folder)


def owlvit(folder: Path) -> None:
    """An OWL-ViT with a tokenizer of a few words."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=8
    )
    text = {
        "vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 8, "pad_token_id": 3, "bos_token_id": 5, "eos_token_id": 6,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 16,
    }  # fmt: skip
    config = tf.OwlViTConfig(text_config=text, vision_config=vision, projection_dim=16)
    tf.OwlViTForObjectDetection(config).save_pretrained(folder)
    reader = OwlViTImageProcessorPil(size={"height": 64, "width": 64})
    tf.OwlViTProcessor(image_processor=reader, tokenizer=fast).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "detr": detr, "segformer": segformer, "sam": sam, "mask2former": mask2former, "owlvit": owlvit,
}  # fmt: skip
TASKS = {
    "detection": ("detr", {"nodule": "nodule"}),
    "semantic_segmentation": ("segformer", {"lung": "lung", "heart": "heart", "nothing": "background"}),
    "instance_segmentation": ("mask2former", {"lung": "lung", "heart": "heart"}),
    "zero_shot_detection": ("owlvit", {}),
    "mask_generation": ("sam", {"mask": "lesion"}),
    "box_prompt": ("sam", {"mask": "lesion"}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Every model, saved once."""
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    for name, make in MAKERS.items():
        make(folder / name)
    return folder


def card(folder: Path, task: str, **changes) -> Card:
    model, labels = TASKS[task]
    run = {"kind": "transformers", "model": model, "task": task}
    run |= {"box_expert": "boxer"} if task == "box_prompt" else {}
    content = {
        "id": task, "title": task, "version": "1", "code_license": "Apache-2.0", "modalities": ["xray"],
        "min_score": 0.0, "labels": labels, "run": run,
    }  # fmt: skip
    return parse_card(content | changes, "card.toml", folder)


def queries() -> list[Query]:
    """Three pictures of two sizes, gray and color, with what prompts need."""
    random = np.random.default_rng(0)
    shapes = ((50, 70), (80, 40, 3), (50, 70))
    return [
        Query(
            pixels=random.integers(0, 255, shape, dtype=np.uint8),
            modality="xray",
            organs=("lung",),
            diseases=("pneumonia",) if at else (),
            boxes=((5, 5, 30, 30), (10, 2, 38, 40))[: at + 1],
        )
        for at, shape in enumerate(shapes)
    ]


def close(one: list[Finding], other: list[Finding]) -> bool:
    """Say whether two lists of findings are the same but for rounding."""
    return len(one) == len(other) and all(
        a.label == b.label
        and abs(a.score - b.score) < 1e-4
        and (a.box is None or np.allclose(a.box, b.box or (), atol=1e-2))
        and (a.mask is None or (a.mask == b.mask).mean() > 0.999)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_finds_what_its_images_find_alone(task, models):
    """Neighbors in a batch change nothing, whatever their size; findings fit their image."""
    expert = pickle.loads(pickle.dumps(transformers_expert(card(models, task))))
    asked = queries()
    found = expert(asked)
    assert any(found)
    for query, own in zip(asked, found, strict=True):
        assert close(own, expert([query])[0])
        for finding in own:
            assert 0 <= finding.score <= 1
            assert finding.mask is None or finding.mask.shape == query.pixels.shape[:2]


def test_one_pass_serves_all_images_of_a_size(models, monkeypatch):
    """Eight pictures of one size are one forward pass."""
    import torch

    expert = transformers_expert(card(models, "detection"))
    query = queries()[0]
    expert([query])
    seen: list[int] = []
    plain = torch.nn.Module.__call__

    def count(module, *args, **kwargs):
        if type(module).__name__ == "DetrForObjectDetection":
            seen.append(len(kwargs["pixel_values"]))
        return plain(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__call__", count)
    expert([query] * 8)
    assert seen == [8]


def test_boxes_prompt_one_outline_each(models):
    """One box, two boxes, none: as many outlines, and a picture without a box is not asked about."""
    expert = transformers_expert(card(models, "box_prompt"))
    asked = [*queries(), queries()[0].with_(boxes=())]
    assert [len(found) for found in expert(asked)] == [1, 2, 2, 0]


def test_the_words_are_those_of_the_metadata(models):
    """A detector by words names what it was asked for, and is not asked about a picture without words."""
    expert = transformers_expert(card(models, "zero_shot_detection"))
    asked = queries()
    found = expert([*asked, asked[0].with_(organs=())])
    assert {finding.label for finding in found[0]} == {"lung"}
    assert {finding.label for finding in found[1]} <= {"lung", "pneumonia"}
    assert found[3] == []


def test_the_threshold_reaches_the_model(models):
    """Nothing comes back below the card's least score."""
    expert = transformers_expert(card(models, "detection", min_score=0.99))
    assert expert(queries()) == [[], [], []]


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("detection", {"run": {"kind": "transformers", "model": "sam", "task": "detection"}}, "does no detection"),
        ("detection", {"run": {"kind": "transformers", "model": "nowhere", "task": "detection"}}, "there is no"),
        ("mask_generation", {"labels": {}}, "outlines without naming"),
    ],
)
def test_a_card_that_cannot_work_says_why(task, changes, message, models):
    """A model of another kind, a folder that is not there, an outline without a name."""
    with pytest.raises(ConfigError, match=message):
        transformers_expert(card(models, task, **changes))(queries())


def test_a_repository_that_is_nowhere_is_named(models, monkeypatch):
    """Offline, an id of the Hub that is not in the cache is a sentence and not a traceback."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    run = {"kind": "transformers", "model": "nobody/nothing", "task": "detection"}
    with pytest.raises(ConfigError, match="nobody/nothing cannot be loaded"):
        transformers_expert(card(models, "detection", run=run))(queries())
