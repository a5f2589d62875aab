"""People: a jointed figure 1 unit tall, seen from the front, the back or the side, clothed and posed at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from examples.common.drawing import Array, Colour, Point, chance, pick, uniform
from examples.people.brush import Brush, mix, scaled

SKINS: list[Colour] = [(236, 200, 174), (222, 178, 146), (196, 148, 112), (150, 104, 74), (108, 72, 52), (74, 50, 40)]
HAIRS: list[Colour] = [(24, 20, 18), (52, 36, 26), (92, 62, 38), (150, 116, 70), (128, 126, 124), (210, 206, 200)]
DARKS: list[Colour] = [(28, 29, 34), (44, 46, 54), (36, 44, 66), (66, 58, 52), (80, 82, 86), (48, 58, 48), (70, 40, 42)]
LIGHTS: list[Colour] = [(206, 204, 198), (168, 160, 146), (138, 150, 164), (186, 172, 140), (120, 118, 112)]
BRIGHTS: list[Colour] = [(176, 42, 44), (206, 118, 40), (40, 92, 160), (42, 126, 84), (214, 184, 62), (150, 66, 122)]
HI_VIS: list[Colour] = [(212, 232, 60), (250, 120, 30)]

POSES = ["stand", "stand", "stand", "walk", "walk", "walk", "walk", "run", "sit", "crouch", "wave", "phone", "bend"]


def cloth(rng: np.random.Generator) -> Colour:
    """A clothing colour: mostly dark, as in a street, seldom bright."""
    group = pick(rng, [DARKS, DARKS, DARKS, LIGHTS, LIGHTS, BRIGHTS])
    return scaled(pick(rng, group), uniform(rng, 0.75, 1.25))


@dataclass(frozen=True)
class Look:
    """What a figure wears and is built like. Widths are multiples of the usual."""

    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoes: Colour
    sleeves: str  # long, short
    lower: str  # trousers, shorts, skirt, coat
    pattern: str  # plain, stripes, vest, open
    accent: Colour
    head: str  # short, long, bald, cap, hood
    bag: str  # none, backpack, hand
    build: float
    head_size: float


@dataclass(frozen=True)
class Pose:
    """Angles in degrees from hanging straight down, positive towards the facing side; flex bends the lower part."""

    view: str  # front, back, side
    lean: float
    thighs: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]
    elbows: tuple[float, float]
    shorten: tuple[float, float]  # length of each lower leg as seen, for legs swung towards or away from the viewer


def random_look(rng: np.random.Generator) -> Look:
    top = cloth(rng)
    bottom = top if chance(rng, 0.12) else cloth(rng)
    child = chance(rng, 0.14)
    return Look(
        skin=scaled(pick(rng, SKINS), uniform(rng, 0.9, 1.05)),
        hair=pick(rng, HAIRS),
        top=top,
        bottom=bottom,
        shoes=pick(rng, [(30, 28, 28), (60, 46, 38), (220, 218, 214), (110, 40, 40)]),
        sleeves=pick(rng, ["long", "long", "short"]),
        lower=pick(rng, ["trousers", "trousers", "trousers", "shorts", "skirt", "coat"]),
        pattern=pick(rng, ["plain", "plain", "plain", "stripes", "vest", "open"]),
        accent=pick(rng, HI_VIS) if chance(rng, 0.2) else cloth(rng),
        head=pick(rng, ["short", "short", "long", "long", "bald", "cap", "hood"]),
        bag=pick(rng, ["none", "none", "none", "backpack", "hand"]),
        build=uniform(rng, 0.82, 1.28),
        head_size=uniform(rng, 1.2, 1.5) if child else uniform(rng, 0.92, 1.1),
    )


def random_pose(rng: np.random.Generator) -> Pose:
    kind = pick(rng, POSES)
    view = pick(rng, ["front", "back", "side", "side"])
    swing = uniform(rng, 8, 30)
    a, b = uniform(rng, 2, 12), uniform(rng, 2, 12)
    pose = Pose(view, uniform(rng, -2, 3), (a / 2, -b / 2), (0, 0), (a, -b), (b, a), (1.0, 1.0))
    if kind in ("walk", "run"):
        far = 1.5 if kind == "run" else 1.0
        if view == "side":
            knees = (uniform(rng, 0, 15), uniform(rng, 10, 40) * far)
            bent = (uniform(rng, 5, 40) + 60 * (far - 1), uniform(rng, 10, 45) + 80 * (far - 1))
            pose = replace(pose, lean=4 * far, thighs=(swing * far, -swing * far), knees=knees, elbows=bent)
            return replace(pose, arms=(-swing * 0.9 * far, swing * 0.9 * far))
        return replace(pose, thighs=(3, -3), shorten=(1.0, uniform(rng, 0.55, 0.9)), elbows=(10 * far, 30 * far))
    if kind == "sit":
        if view == "side":
            return replace(pose, thighs=(86, 80), knees=(88, 84), arms=(30, 35), elbows=(40, 45))
        return replace(pose, thighs=(16, -16), knees=(6, -6), shorten=(0.55, 0.5), arms=(10, -10), elbows=(25, 25))
    if kind == "crouch":
        pose = replace(pose, lean=18 if view == "side" else 4, arms=(40, 15), elbows=(30, 50))
        if view == "side":
            return replace(pose, thighs=(105, 60), knees=(125, 120))
        return replace(pose, thighs=(24, -24), knees=(10, -10), shorten=(0.45, 0.45))
    if kind == "wave":
        return replace(pose, arms=(uniform(rng, 120, 165), -b), elbows=(uniform(rng, 0, 60), a))
    if kind == "phone":
        return replace(pose, arms=(uniform(rng, 15, 30), -b), elbows=(uniform(rng, 110, 145), a))
    if kind == "bend" and view == "side":
        return replace(pose, lean=uniform(rng, 30, 65), arms=(55, 40), elbows=(10, 10))
    return pose


def step(p: Point, angle: float, length: float) -> Point:
    """The point `length` from p, `angle` degrees from straight down, positive to the right."""
    return (p[0] + math.sin(math.radians(angle)) * length, p[1] - math.cos(math.radians(angle)) * length)


def draw_leg(brush: Brush, hip: Point, pose: Pose, side: int, look: Look, shade: float) -> None:
    knee, ankle = leg_joints(hip, pose, side)
    cloth_leg, bare = scaled(look.bottom, shade), scaled(look.skin, shade)
    w = look.build
    upper = bare if look.lower == "skirt" else cloth_leg
    brush.limb(knee, ankle, 0.036 * w, 0.026 * w, cloth_leg if look.lower in ("trousers", "coat") else bare)
    brush.limb(hip, knee, 0.05 * w, 0.04 * w, upper)
    toe = (ankle[0] + (0.07 if pose.view == "side" else 0.025 * (1 - 2 * side)), ankle[1] - 0.022)
    brush.limb((ankle[0], ankle[1] - 0.015), toe, 0.025, 0.018, scaled(look.shoes, shade))


def leg_joints(hip: Point, pose: Pose, side: int) -> tuple[Point, Point]:
    knee = step(hip, pose.thighs[side], 0.235 * (0.6 if pose.shorten[side] < 0.56 else 1.0))
    ankle = step(knee, pose.thighs[side] - pose.knees[side], 0.225 * pose.shorten[side])
    return knee, ankle


def draw_arm(brush: Brush, shoulder: Point, pose: Pose, side: int, look: Look, shade: float) -> None:
    sign = 1.0 if side == 0 or pose.view == "side" else -1.0
    elbow = step(shoulder, pose.arms[side], 0.165)
    wrist = step(elbow, pose.arms[side] + sign * pose.elbows[side] * (1 if pose.view == "side" else -0.3), 0.15)
    sleeve, w = scaled(look.top, shade), look.build
    bare = scaled(look.skin, shade)
    brush.limb(elbow, wrist, 0.028 * w, 0.02 * w, sleeve if look.sleeves == "long" else bare)
    brush.limb(shoulder, elbow, 0.036 * w, 0.029 * w, sleeve)
    brush.disc(step(wrist, pose.arms[side], 0.02), 0.022, 0.026, bare)
    if look.bag == "hand" and side == 0:
        x, y = wrist
        brush.line([(x, y), (x, y - 0.06)], 0.008, scaled(look.accent, 0.6))
        brush.slab(x - 0.055, y - 0.18, x + 0.055, y - 0.06, look.accent, 0.01)


def draw_torso(brush: Brush, hip: Point, neck: Point, pose: Pose, look: Look) -> None:
    flat = 0.62 if pose.view == "side" else 1.0
    sw, hw = 0.118 * look.build * flat, 0.1 * look.build * flat
    ux, uy = neck[0] - hip[0], neck[1] - hip[1]
    length = math.hypot(ux, uy)
    ux, uy = ux / length, uy / length

    def at(across: float, along: float) -> Point:
        return (hip[0] + uy * across + ux * along * length, hip[1] - ux * across + uy * along * length)

    if look.bag == "backpack":
        back = -0.1 if pose.view == "side" else 0.0
        brush.limb(at(back * look.build, 0.35), at(back * look.build, 0.75), 0.085, 0.07, scaled(look.accent, 0.8))
    if look.lower in ("skirt", "coat"):
        hem = -0.62 if look.lower == "coat" else -0.45
        colour = look.top if look.lower == "coat" else look.bottom
        brush.poly([at(-hw * 1.5, hem), at(-hw, 0.15), at(hw, 0.15), at(hw * 1.5, hem)], colour)
    body = [at(-hw, -0.1), at(-hw * 0.86, 0.3), at(-sw, 0.86), at(-sw * 0.5, 1.0)]
    body += [at(sw * 0.5, 1.0), at(sw, 0.86), at(hw * 0.86, 0.3), at(hw, -0.1)]
    brush.poly(body, look.top)
    brush.limb(at(-sw * 0.72, 0.86), at(sw * 0.72, 0.86), 0.034, 0.034, look.top)
    if look.pattern == "stripes":
        for i in range(4):
            brush.line([at(-hw, 0.1 + 0.2 * i), at(hw, 0.1 + 0.2 * i)], 0.02, look.accent)
    elif look.pattern == "vest":
        brush.poly([at(-hw * 0.9, 0.02), at(-sw * 0.75, 0.9), at(sw * 0.75, 0.9), at(hw * 0.9, 0.02)], look.accent)
    elif look.pattern == "open" and pose.view == "front":
        brush.poly([at(-0.02, 0.0), at(-0.035, 0.98), at(0.035, 0.98), at(0.02, 0.0)], look.accent)
    if look.bag == "backpack" and pose.view == "back":
        brush.limb(at(0, 0.3), at(0, 0.78), 0.08, 0.07, look.accent)


def draw_head(brush: Brush, neck: Point, pose: Pose, look: Look) -> None:
    s = look.head_size
    tilt = math.radians(pose.lean * 0.6)
    cx, cy = neck[0] + math.sin(tilt) * 0.075 * s, neck[1] + math.cos(tilt) * 0.075 * s
    rx, ry = 0.052 * s, 0.07 * s
    brush.limb(neck, (cx, cy), 0.034, 0.032, scaled(look.skin, 0.86))
    hood = look.head == "hood"
    if look.head == "long":
        brush.limb(
            (cx, cy + 0.01), (cx - (0.02 if pose.view == "side" else 0), cy - 0.075 * s), rx * 1.1, rx, look.hair
        )
    if hood:
        brush.disc((cx, cy + 0.004), rx * 1.28, ry * 1.15, look.top)
    if pose.view == "back":
        brush.disc((cx, cy), rx, ry, look.top if hood else look.skin if look.head == "bald" else look.hair)
    else:
        forward = 0.016 * s if pose.view == "side" else 0.0
        if not hood and look.head != "bald":
            brush.disc((cx - forward * 0.5, cy + 0.012 * s), rx * 1.06, ry * 1.0, look.hair)
        brush.disc((cx + forward, cy - 0.014 * s), rx * 0.88, ry * 0.84, look.skin)
        eyes = (0.02, 0.034) if pose.view == "side" else (-0.02, 0.02)
        for x in eyes:
            brush.disc((cx + x * s, cy - 0.002 * s), 0.007 * s, 0.005 * s, scaled(look.skin, 0.35))
        brush.disc((cx + forward * 1.4, cy - 0.046 * s), 0.014 * s, 0.005 * s, mix(look.skin, (150, 50, 50), 0.4))
    if look.head == "cap":
        brush.slab(cx - rx * 1.05, cy + 0.018 * s, cx + rx * 1.05, cy + ry * 1.08, look.accent, 0.03)
        if pose.view == "side":
            brush.slab(cx, cy + 0.016 * s, cx + rx * 1.9, cy + 0.032 * s, scaled(look.accent, 0.8))


def render_person(rng: np.random.Generator, height: float, side_light: float) -> Array:
    """(h, w, 4) sprite of a person `height` pixels tall when upright; feet at the bottom, the hips near the middle."""
    return render_figure(rng, random_look(rng), random_pose(rng), height, side_light)


def render_figure(rng: np.random.Generator, look: Look, pose: Pose, height: float, side_light: float) -> Array:
    # Children have large heads: shrink everything so that the upright height stays one unit.
    unit = height / (0.86 + 0.14 * look.head_size)
    flat = 0.3 if pose.view == "side" else 1.0
    hx, sx = 0.052 * look.build * flat, 0.118 * look.build * (0.25 if pose.view == "side" else 1.0)
    lows = [leg_joints((0, 0), pose, side)[1][1] for side in (0, 1)]
    hip: Point = (0.0, -min(lows) + 0.04)
    neck = step(hip, 180 - pose.lean, 0.35)
    brush = Brush(1.3, 1.3, unit)
    shoulder = step(neck, -pose.lean, 0.055)
    draw_arm(brush, (shoulder[0] - sx, shoulder[1]), pose, 1, look, 0.8)
    draw_leg(brush, (hip[0] - hx, hip[1]), pose, 1, look, 0.85)
    draw_leg(brush, (hip[0] + hx, hip[1]), pose, 0, look, 1.0)
    draw_torso(brush, hip, neck, pose, look)
    draw_head(brush, neck, pose, look)
    draw_arm(brush, (shoulder[0] + sx, shoulder[1]), pose, 0, look, 0.95)
    sprite = brush.finish(rng, side_light)
    return sprite[:, ::-1].copy() if chance(rng, 0.5) else sprite


def render_bust(rng: np.random.Generator, height: float, side_light: float, grey: bool) -> Array:
    """Head and torso without arms or legs, on a stand: a shop dummy, or a statue's bust where `grey`. Not a person."""
    look = random_look(rng)
    if grey:
        stone = scaled((150, 148, 140), uniform(rng, 0.6, 1.2))
        look = replace(look, skin=stone, hair=scaled(stone, 0.9), top=stone, bottom=stone, accent=stone)
    look = replace(look, lower="trousers", bag="none", head="bald")
    pose = replace(random_pose(rng), view=pick(rng, ["front", "back"]), lean=0.0)
    brush = Brush(1.0, 1.3, height)
    base = scaled(look.top, 0.8) if grey else (60.0, 60.0, 62.0)
    if grey:
        brush.slab(-0.15, 0.0, 0.15, 0.47, base)
        brush.slab(-0.18, 0.44, 0.18, 0.49, scaled(base, 1.1))
    else:
        brush.slab(-0.012, 0.0, 0.012, 0.5, base)
        brush.slab(-0.1, 0.0, 0.1, 0.02, base)
    draw_torso(brush, (0, 0.5), (0, 0.85), pose, look)
    draw_head(brush, (0, 0.85), replace(pose, view="back"), look)
    return brush.finish(rng, side_light)
