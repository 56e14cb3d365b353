"""Backends that break a law, made from a healthy one of any kind: they show that the suite bites.

Run `BREAKAGES` on a new backend to see that the suite has hold of it.
"""

from __future__ import annotations

from dataclasses import replace

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, LOGITS
from xfer.testing.broken import blending, graphs, models, rules, steps
from xfer.testing.broken.mechanics import Breakage, Maker, arguments, calls, replacing
from xfer.testing.broken.mechanics import steps as stepping
from xfer.testing.kit import Law
from xfer.testing.laws import changes, model, optimizer, parts, statistics, training


def _b(what: str, make: Maker, *laws: Law) -> Breakage:
    return Breakage(what, make, laws)


_FREEZING = (
    _b(
        "frozen norm layers follow the batches",
        arguments(groups=steps.statistics_always_follow),
        training.frozen_statistics_stay_in_trained_layers,
        training.training_without_keep_is_inference,
    ),
    _b(
        "updating statistics stay as they are",
        arguments(groups=steps.statistics_never_follow),
        training.statistics_follow_in_frozen_layers,
        statistics.updating_layers_normalise_with_the_batch,
    ),
    _b(
        "a frozen weight is trained",
        stepping(steps.MovesAFrozenOne),
        training.training_the_head_changes_only_the_head,
        training.training_the_last_stages_changes_only_them,
        training.biases_alone_can_be_trained,
    ),
    _b(
        "a trainable weight is forgotten",
        arguments(groups=steps.one_is_forgotten),
        training.training_everything_changes_everything,
        training.biases_alone_can_be_trained,
    ),
    _b("the first phase's groups stay", steps.first_phase_for_ever, training.phases_follow_each_other_on_one_model),
    _b("the last groups made hold for all", steps.last_groups_for_all, training.a_later_step_changes_no_earlier_one),
    _b("dropout of its own", calls(batch=steps.with_dropout), training.training_without_keep_is_inference),
    _b("features are scaled", calls(batch=steps.scaled_features), training.batches_may_enter_at_any_boundary),
    _b("sums are of a chance order", stepping(steps.AddsByChance), training.the_same_steps_give_the_same_bits),
    _b("targets are cleared", stepping(steps.ClearsTargets), training.a_step_leaves_its_batch_alone),
    _b(
        "a batch is read late",
        stepping(steps.ReadsItsBatchLate),
        training.a_batch_is_the_cores_again_after_its_step,
    ),
    _b(
        "gradients are too large",
        calls(rates=lambda step, rates: [1.1 * rate for rate in rates]),
        training.gradient_is_the_slope_of_the_loss,
        optimizer.sgd_follows_its_formula,
    ),
    _b(
        "gradients are too large where statistics follow",
        calls(rates=lambda step, rates: [1.1 * rate for rate in rates] if step.groups.updating else rates),
        training.gradient_passes_through_batch_statistics,
    ),
)

_STATISTICS = (
    _b("norm momentum 0.9 for 0.1", stepping(steps.ReversedMomentum), statistics.statistics_have_momentum),
    _b("running variance is biased", stepping(steps.BiasedVariance), statistics.running_variance_is_unbiased),
    _b(
        "updating layers normalise with running statistics",
        stepping(steps.InferenceWhileUpdating),
        statistics.updating_layers_normalise_with_the_batch,
    ),
    _b(
        "a lone picture is normalised with itself",
        calls(batch=steps.twice_where_alone),
        statistics.one_value_per_channel_is_refused,
    ),
)

_RULES = (
    _b(
        "one rate for all groups",
        calls(rates=lambda step, rates: [rates[0]] * len(rates)),
        training.rates_and_decays_belong_to_their_groups,
        optimizer.sgd_follows_its_formula,
    ),
    _b(
        "rates are multiplied once more",
        calls(rates=lambda step, rates: [g.lr_mult * r for g, r in zip(step.groups.trainable, rates, strict=True)]),
        training.gradient_is_the_slope_of_the_loss,
        optimizer.sgd_follows_its_formula,
    ),
    _b("rates of the first step stay", stepping(steps.FirstRates), optimizer.sgd_follows_its_formula),
    _b(
        "rate 0 moves",
        calls(rates=lambda step, rates: [max(rate, 1e-4) for rate in rates]),
        optimizer.a_rate_of_zero_moves_nothing,
    ),
    _b(
        "decay is dropped",
        arguments(groups=lambda g: steps.all_decays(g, 0.0)),
        training.rates_and_decays_belong_to_their_groups,
        optimizer.sgd_follows_its_formula,
        optimizer.adam_follows_its_formula,
        optimizer.adamw_follows_its_formula,
    ),
    _b(
        "one decay for all groups",
        arguments(groups=lambda g: steps.all_decays(g, g.trainable[0].weight_decay)),
        training.rates_and_decays_belong_to_their_groups,
        optimizer.momentum_follows_its_formula,
    ),
    _b(
        "momentum is dropped",
        arguments(optimizer=lambda o: replace(o, momentum=0.0, nesterov=False)),
        optimizer.momentum_follows_its_formula,
        optimizer.nesterov_follows_its_formula,
    ),
    _b(
        "Nesterov is plain momentum",
        arguments(optimizer=lambda o: replace(o, nesterov=False)),
        optimizer.nesterov_follows_its_formula,
    ),
    _b(
        "AdamW decays as Adam",
        arguments(optimizer=lambda o: replace(o, kind="adam") if o.kind == "adamw" else o),
        optimizer.adamw_follows_its_formula,
    ),
    _b(
        "Adam decays as AdamW",
        arguments(optimizer=lambda o: replace(o, kind="adamw") if o.kind == "adam" else o),
        optimizer.adam_follows_its_formula,
    ),
    _b(
        "betas are the usual ones",
        arguments(optimizer=lambda o: replace(o, betas=(0.9, 0.999))),
        optimizer.adam_follows_its_formula,
    ),
    _b(
        "eps is the usual one",
        arguments(optimizer=lambda o: replace(o, eps=1e-8)),
        optimizer.adam_follows_its_formula,
        optimizer.adamw_follows_its_formula,
    ),
    _b(
        "clipping is dropped",
        arguments(optimizer=lambda o: replace(o, clip_norm=None)),
        optimizer.clipping_bounds_the_global_norm,
    ),
    _b(
        "targets are made hard",
        calls(batch=steps.hard_targets),
        optimizer.label_smoothing_follows_its_formula,
        optimizer.smoothing_and_class_weights_go_together,
    ),
    _b(
        "all samples count the same",
        calls(batch=steps.equal_factors),
        optimizer.class_weights_follow_their_formula,
        optimizer.smoothing_and_class_weights_go_together,
    ),
    _b(
        "masks are dropped",
        calls(batch=lambda step, batch: replace(batch, masks={})),
        optimizer.keep_multiplies_the_inputs_of_the_head,
    ),
    _b("each part is a step", stepping(steps.StepsForEachPart), parts.parts_are_one_batch),
    _b(
        "every loss is softmax",
        replacing(
            make_train_step=lambda inner, model, rule, loss, *rest: inner.make_train_step(model, rule, "softmax", *rest)
        ),
        parts.sigmoid_follows_its_formula,
        parts.sigmoid_weighs_each_class,
    ),
    _b("a sample has one factor for all classes", calls(batch=steps.one_factor), parts.sigmoid_weighs_each_class),
    _b("short batches are filled up", calls(batch=steps.filled_up), optimizer.batches_may_have_any_size),
    _b("only the latest loss can be read", stepping(steps.ReadsLatest), optimizer.losses_can_be_read_later),
)

_STATE = (
    _b(
        "state is not restored",
        stepping(steps.ForgetsState),
        optimizer.training_continues_from_its_state,
        optimizer.state_of_another_backend_serves,
    ),
    _b(
        "the count of steps is not restored",
        stepping(steps.ForgetsCount),
        optimizer.training_continues_from_its_state,
        optimizer.state_of_another_backend_serves,
    ),
    _b("state shares memory", stepping(steps.SharesState), optimizer.state_is_exchanged_by_copy),
    _b(
        "state has a sign of its own",
        stepping(steps.OwnSign),
        optimizer.momentum_follows_its_formula,
        optimizer.adam_follows_its_formula,
        optimizer.state_of_another_backend_serves,
    ),
    _b("frozen weights have state", stepping(steps.StateOfFrozen), optimizer.only_trainable_weights_have_state),
)

_MODELS = (
    _b(
        "answers depend on the batch",
        models.answers(lambda start, stop: stop == LOGITS, lambda out: out - out.mean(axis=0) / 100),
        model.predicting_is_independent_of_the_batch,
    ),
    _b(
        "answers from a boundary on are too large",
        models.answers(lambda start, stop: start != "stem", lambda out: 1.01 * out),
        model.stages_compose,
    ),
    _b(
        "features have the shape of pictures",
        models.answers(lambda start, stop: stop == "head", lambda out: out[:, :, None, None]),
        model.boundaries_have_their_shapes,
    ),
    _b(
        "features inside the network are laid out otherwise",
        models.answers(lambda start, stop: stop not in ("head", LOGITS), models.laid_out_otherwise),
        model.inner_boundaries_have_their_layout,
    ),
    _b("answers share memory", models.answers_share_memory, model.predicting_is_pure),
    _b("predicting remembers old weights", models.remembers_old_weights, model.predicting_sees_current_weights),
    _b(
        "predicting changes weights",
        models.learns_while_predicting,
        model.predicting_is_pure,
        training.predicting_does_not_disturb_training,
    ),
    _b("channels are blue, green, red", models.swapped_colours, model.channels_are_red_green_blue),
    _b(
        "grey pictures have another mean",
        models.building(lambda spec: replace(spec, mean=(0.5,)) if len(spec.mean) == 1 else spec),
        model.grey_pictures_enter_as_one_channel,
    ),
    _b(
        "normalisation is always that of ImageNet",
        models.building(lambda spec: replace(spec, mean=IMAGENET_MEAN, std=IMAGENET_STD)),
        model.images_are_normalised_as_stated,
    ),
    _b(
        "there are always three classes",
        models.building(lambda spec: replace(spec, graph=spec.graph.with_classes(3))),
        model.builds_what_was_asked_for,
    ),
    _b("cpu is not the last device", replacing(devices=lambda _: ("cpu", "other:0")), model.describes_itself),
    _b("all models are one", models.one_model_for_all, model.models_share_nothing),
    _b("exports share memory", models.exports_share_memory, model.exports_are_copies),
    _b("imports share memory", models.imports_share_memory, model.imports_are_copies),
    _b("weights are float16", replacing(import_weights=models.half_precision), model.weights_round_trip_exactly),
    _b(
        "exports are float64",
        replacing(export_weights=models.double_precision),
        model.weights_are_complete_and_float32,
    ),
)

_CHANGES = (
    _b(
        "hidden layers have no ReLU",
        graphs.nodes(graphs.linear_where_hidden),
        changes.hidden_layers_stand_before_the_head,
    ),
    _b(
        "SAME padding has its odd pixel in front",
        graphs.nodes(graphs.symmetric),
        changes.padding_is_kept,
    ),
    _b(
        "every precision is float32",
        models.building(lambda spec: replace(spec, precision="float32")),
        changes.another_precision_is_kept_or_refused,
    ),
)

BREAKAGES: tuple[Breakage, ...] = (
    *_FREEZING,
    *_STATISTICS,
    *_RULES,
    *_STATE,
    *_MODELS,
    *blending.BREAKAGES,
    *rules.BREAKAGES,
    *_CHANGES,
    *graphs.BREAKAGES,
)
