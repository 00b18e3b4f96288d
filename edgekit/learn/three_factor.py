"""Three factors: what came in, what came out, and a third that says later whether it was well done.

Reward: Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning, 1992;
traces: Frémaux and Gerstner, Neuromodulated spike-timing-dependent plasticity and theory of three-factor learning
rules, 2016.
"""

from __future__ import annotations

import numpy as np

from edgekit.learn.arithmetic import Arithmetic, Num, first_of, moved
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import ERROR, TARGET, Learning
from edgekit.learn.window import Window

REWARD, CHOICE = "reward", "choice"
MOST_REWARD = 2.0  # beside which integers saturate; 1 and -1 are exact


def add_three_factor(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entries of the read-out W, b, whose mean input over a window is x̄ and mean output ȳ.

    error: `learn` takes the target t [C]; p ← λ p + x̄, δ = t - softmax(gain · ȳ), W += rate · δ pᵀ, b += rate · δ.
    reward: `learn` takes a reward r from -1 to 1 for the choice c, which is the largest output unless the entry
    `choose` was given another one [C] since; with the running mean r̄ += baseline · (r - r̄) of rewards before,
    e ← λ e + (c - softmax(gain · ȳ)) x̄ᵀ, W += rate · (r - r̄) · e, and b alike. λ is the eligibility: above 0 it lets a
    reward change what earlier windows chose too, and is then kept as W is. `learn` gives ȳ, as it was before.
    """
    _ThreeFactor(a, plastic, asked).write()


class _ThreeFactor:
    """What the entries share."""

    def __init__(self, a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
        self.a, self.plastic, self.asked, self.layer = a, plastic, asked, plastic.readout
        self.window = Window(a, asked.window)

    def write(self) -> None:
        """Write the entries."""
        asked = self.asked
        if self.plastic.stateful:
            self.window.gather([self.layer.given], self.plastic.output, asked.trace)
        if asked.modulation == ERROR:
            self._from_errors()
        else:
            self._from_rewards()
        self.window.clear()

    def _from_errors(self) -> None:
        a, asked = self.a, self.asked
        a.draft.open("learn")
        target = a.target(TARGET, self.layer.size[0])
        x, mean = self._seen()
        error = a.sub(target, self._answer(mean), 1.0)
        if asked.eligibility:
            bound = x.bound / (1 - asked.eligibility)
            kept = a.vector("eligibility", np.zeros(self.layer.size[1]), bound, "keep")
            x = a.add(a.scaled(kept, asked.eligibility), x, bound)
            a.update(kept, x)
        self._learn(a.learned(a.value(self.layer.weights), error, x, asked.rate), a.scaled(error, asked.rate))

    def _from_rewards(self) -> None:
        a, asked, count = self.a, self.asked, self.layer.size[0]
        choice = a.vector(CHOICE, np.zeros(count), 1.0, "scratch")
        expected = a.vector("reward.mean", np.zeros(()), MOST_REWARD, "keep")
        a.draft.open("choose")
        given = a.target(CHOICE, count)
        a.update(choice, given)
        a.draft.output(given.name)
        a.draft.open("learn")
        reward = a.given(REWARD, (), MOST_REWARD)
        surprise = a.sub(reward, expected, MOST_REWARD)
        a.update(expected, a.add(expected, a.scaled(surprise, asked.baseline), MOST_REWARD))
        x, mean = self._seen()
        post = a.sub(self._chosen(choice, mean), self._answer(mean), 1.0)
        a.clear(choice)
        if asked.eligibility:
            self._through_traces(surprise, post, x)
            return
        praised = a.times(post, surprise, MOST_REWARD)
        weights = a.value(self.layer.weights)
        self._learn(a.learned(weights, praised, x, asked.rate), a.scaled(praised, asked.rate))

    def _through_traces(self, surprise: Num, post: Num, x: Num) -> None:
        a, asked, most = self.a, self.asked, 1 / (1 - self.asked.eligibility)
        traces = a.matrix("eligibility", np.zeros(self.layer.size), x.bound * most)
        recent = a.vector("eligibility.bias", np.zeros(self.layer.size[0]), most, "keep")
        faded = a.alike(a.scaled(traces, asked.eligibility), traces)
        grown = a.learned(faded, post, x, 1.0)
        last = a.add(a.scaled(recent, asked.eligibility), post, most)
        a.update(traces, grown)
        a.update(recent, last)
        bound = asked.rate * MOST_REWARD
        change = a.times(a.scaled(grown, asked.rate), surprise, bound * grown.bound)
        weights = a.value(self.layer.weights)
        moves = a.times(a.scaled(last, asked.rate), surprise, bound * most)
        self._learn(a.add(weights, change, weights.bound), moves)

    def _seen(self) -> tuple[Num, Num]:
        """x̄ and ȳ, which the entry gives."""
        mean = self.window.mean(self.plastic.output)
        self.a.draft.output(mean.name)
        return self.window.mean(self.layer.given), mean

    def _answer(self, mean: Num) -> Num:
        return self.a.softmax(self.a.scaled(mean, self.asked.logits))

    def _chosen(self, choice: Num, mean: Num) -> Num:
        """The choice that was told, or else the largest output, ties to the lowest index."""
        a, size = self.a, self.layer.size[0]
        told = a.compare("gt", moved(a, "amax", choice, axis=0, keepdims=True), a.number("none", np.zeros(())))
        largest = moved(a, "amax", mean, axis=0, keepdims=True)
        first = a.value(first_of(a, a.compare("eq", mean, largest), axis=0))
        return a.either(a.draft.emit("expand", told, shape=(size,)), choice, a.alike(first, choice))

    def _learn(self, weights: Num, change: Num) -> None:
        a = self.a
        a.update(a.value(self.layer.weights), weights)
        bias = a.value(self.layer.bias)
        a.update(bias, a.add(bias, change, bias.bound))
