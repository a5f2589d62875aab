// The drawn graph: move, zoom, search, colour, and what is known of a box. Texts are set as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const graph = byId("graph");
  const data = JSON.parse(byId("facts").textContent);
  const world = byId("world");
  const boxes = [...world.querySelectorAll(".box")];
  const lines = [...world.querySelectorAll(".line")];
  const strip = byId("overview");
  const about = byId("about");
  const search = byId("search");
  const items = [...document.querySelectorAll("#findings li")].map((item) => [item, item.dataset.boxes.split(" ").filter(Boolean).map(Number)]);
  const whole = { wide: Number(graph.dataset.wide), high: Number(graph.dataset.high) };
  const BOX = { wide: 164, high: 42 };
  const MOST = 2.5;
  const corner = boxes.map((box) => box.getAttribute("transform").match(/-?[\d.]+/g).map(Number));
  const ends = lines.map((line) => [Number(line.dataset.a), Number(line.dataset.b)]);
  const empty = about.cloneNode(true);
  let pane = { wide: 1, high: 1 };
  let view = { x: 0, y: 0, k: 1 }; // the part of the drawing that is seen: its corner, and pixels per unit
  let chosen = -1;
  let hits = [];
  let target = 0;
  document.body.classList.add("live");

  const stripWidth = () => (strip.getBoundingClientRect().width || 0);
  const fitting = () => Math.min((pane.wide - stripWidth()) / whole.wide, pane.high / whole.high, 1);

  function draw() {
    world.setAttribute("transform", `scale(${view.k}) translate(${-view.x} ${-view.y})`);
    graph.classList.toggle("tiny", view.k < 0.4);
    const seen = byId("view");
    seen.setAttribute("x", view.x);
    seen.setAttribute("y", view.y);
    seen.setAttribute("width", (pane.wide - stripWidth()) / view.k);
    seen.setAttribute("height", pane.high / view.k);
  }

  // Something of the graph always stays in sight.
  function move(x, y, k) {
    view.k = Math.min(MOST, Math.max(Math.min(fitting(), 0.4), k));
    const wide = (pane.wide - stripWidth()) / view.k;
    const high = pane.high / view.k;
    const held = (at, length, size) => (size <= length ? (size - length) / 2 : Math.min(size - length + 60, Math.max(-60, at)));
    view.x = held(x, wide, whole.wide);
    view.y = held(y, high, whole.high);
    draw();
  }

  function zoom(by, px = (pane.wide - stripWidth()) / 2, py = pane.high / 2) {
    const x = view.x + px / view.k;
    const y = view.y + py / view.k;
    const k = Math.min(MOST, Math.max(Math.min(fitting(), 0.4), view.k * by));
    move(x - px / k, y - py / k, k);
  }

  function centre(at) {
    const k = Math.max(view.k, 0.75);
    const [x, y] = corner[at];
    move(x + BOX.wide / 2 - (pane.wide - stripWidth()) / 2 / k, y + BOX.high / 2 - pane.high / 2 / k, k);
  }

  function measure() {
    const place = graph.getBoundingClientRect();
    pane = { wide: place.width || 1, high: place.height || 1 };
    graph.setAttribute("viewBox", `0 0 ${pane.wide} ${pane.high}`);
  }

  // --- what is known of a box ----------------------------------------------------------------------------------

  function make(kind, words, name) {
    const made = document.createElement(kind);
    if (words !== undefined) made.textContent = words;
    if (name) made.className = name;
    return made;
  }

  function list(pairs) {
    const made = make("dl");
    for (const [head, words] of pairs) made.append(make("dt", head), make("dd", words));
    return made;
  }

  function near(title, found) {
    if (!found.length) return [];
    const row = make("div", undefined, "near");
    for (const at of found.slice(0, 12)) {
      const button = make("button", data.boxes[at].name || data.boxes[at].op);
      button.type = "button";
      button.addEventListener("click", () => choose(at, true));
      row.append(button);
    }
    if (found.length > 12) row.append(make("span", `and ${found.length - 12} more`, "note"));
    return [make("h3", title), row];
  }

  function runs(box) {
    return box.runs.flatMap(([how, kernel, row, because], at) => {
      if (how === undefined) return [];
      const where = data.targets.length > 1 ? ` on ${data.targets[at]}` : "";
      const pairs = [[`runs${where}`, how === "moves" ? "moves values as they come" : how]];
      if (kernel) pairs.push(["kernel", kernel]);
      if (because) pairs.push(["because", because]);
      if (row) pairs.push(["row", row]);
      return pairs;
    });
  }

  function tell(at) {
    const box = data.boxes[at];
    const found = items.filter(([, all]) => all.includes(at));
    const parts = [make("h2", box.name || box.op), make("p", box.kind === "node" ? box.op : `graph ${box.kind}`, "kind-word")];
    parts.push(list([...runs(box), ...box.facts]));
    if (found.length) {
      const all = make("ul");
      for (const [item] of found.slice(0, 20)) {
        const copy = item.cloneNode(true);
        copy.classList.remove("about");
        const rule = item.closest("details").querySelector("summary");
        const head = make("p");
        for (const part of rule.querySelectorAll(".level, code")) head.append(part.cloneNode(true), " ");
        copy.querySelector(".go")?.replaceWith(head);
        all.append(copy);
      }
      parts.push(make("h3", found.length === 1 ? "Finding" : `${found.length} findings`), all);
      if (found.length > 20) parts.push(make("p", `and ${found.length - 20} more in the list`, "note"));
    }
    if (box.tensors.length) parts.push(make("h3", "Quantized"), ...box.tensors.map((number) => list(data.tensors[number])));
    parts.push(...near("Reads from", box.above), ...near("Is read by", box.below));
    about.replaceChildren(...parts);
  }

  function choose(at, go = false) {
    boxes[chosen]?.classList.remove("on");
    for (const line of world.querySelectorAll(".line.on")) line.classList.remove("on");
    chosen = at;
    for (const [item, all] of items) item.classList.toggle("about", all.includes(at));
    if (at < 0) {
      graph.removeAttribute("aria-activedescendant");
      about.replaceChildren(...empty.cloneNode(true).childNodes);
      return;
    }
    boxes[at].classList.add("on");
    boxes[at].id = `box-${at}`;
    graph.setAttribute("aria-activedescendant", `box-${at}`);
    ends.forEach(([source, end], number) => {
      if (source === at || end === at) lines[number].classList.add("on");
    });
    tell(at);
    if (go) centre(at);
  }

  // --- search, colours, targets --------------------------------------------------------------------------------

  const texts = data.boxes.map((box) => {
    const tensors = box.tensors.flatMap((number) => data.tensors[number].map(([, words]) => words));
    return [box.name, box.op, ...tensors].join("\n").toLowerCase();
  });

  function look() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = [];
    boxes.forEach((box, at) => {
      const hit = wanted.length > 0 && wanted.every((word) => texts[at].includes(word));
      box.classList.toggle("hit", hit);
      if (hit) hits.push(at);
    });
    // Boxes that are called so come before those whose tensors are.
    const named = (at) => wanted.every((word) => data.boxes[at].name.toLowerCase().includes(word));
    hits = [...hits.filter(named), ...hits.filter((at) => !named(at))];
    graph.classList.toggle("searching", wanted.length > 0);
    byId("hits").textContent = wanted.length ? `${hits.length} of ${boxes.length}` : "";
  }

  search.addEventListener("input", look);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      search.value = "";
      look();
      graph.focus({ preventScroll: true });
    }
    if (event.key !== "Enter" || !hits.length) return;
    event.preventDefault();
    const now = hits.indexOf(chosen);
    const next = now < 0 ? 0 : (now + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    choose(hits[next], true);
    byId("hits").textContent = `${next + 1} of ${hits.length}`;
  });

  byId("colours")?.addEventListener("change", (event) => {
    graph.dataset.colour = event.target.value;
    for (const legend of document.querySelectorAll("[data-legend]")) legend.hidden = legend.dataset.legend !== event.target.value;
  });

  byId("target")?.addEventListener("change", (event) => {
    target = Number(event.target.value);
    const counted = {};
    const dots = [...strip.querySelectorAll(".dot")];
    data.boxes.forEach((box, at) => {
      const how = box.runs[target]?.[0];
      if (how === undefined) return;
      counted[how] = (counted[how] || 0) + 1;
      for (const shape of [boxes[at], dots[at]]) {
        shape.classList.remove(...[...shape.classList].filter((name) => name.startsWith("r-")));
        shape.classList.add(`r-${how.replace(/\W/g, "")}`);
      }
      boxes[at].querySelector(".runs").textContent = how;
    });
    for (const entry of document.querySelectorAll("[data-count]")) entry.textContent = counted[entry.dataset.count] || 0;
  });

  for (const item of document.querySelectorAll("aside li")) item.querySelector(".go")?.addEventListener("click", () => {
    choose(Number(item.dataset.boxes.split(" ")[0]), true);
    if (matchMedia("(max-width: 62rem)").matches) graph.scrollIntoView({ block: "center" });
  });

  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => {
    if (button.dataset.zoom === "fit") move(0, 0, fitting());
    else zoom(button.dataset.zoom === "in" ? 1.4 : 1 / 1.4);
  });

  // --- pointers and wheel ---------------------------------------------------------------------------------------

  const held = new Map();
  let moved = false;
  let pressed = -1;

  const place = (event) => {
    const at = graph.getBoundingClientRect();
    return [event.clientX - at.left, event.clientY - at.top];
  };

  graph.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    held.set(event.pointerId, place(event));
    if (held.size === 1) {
      moved = false;
      pressed = Number(event.target.closest(".box")?.dataset.i ?? -1);
    }
    graph.setPointerCapture(event.pointerId);
  });

  graph.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    if (held.size === 1) {
      if (!moved && Math.hypot(now[0] - before[0], now[1] - before[1]) < 4) return;
      moved = true;
      graph.classList.add("held");
      move(view.x - (now[0] - before[0]) / view.k, view.y - (now[1] - before[1]) / view.k, view.k);
    } else {
      moved = true;
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    held.set(event.pointerId, now);
  });

  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    graph.classList.remove("held");
    if (!moved && event.type === "pointerup") choose(pressed);
  };
  graph.addEventListener("pointerup", release);
  graph.addEventListener("pointercancel", release);

  graph.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * unit * 0.005), ...place(event));
    else move(view.x + (event.deltaX * unit) / view.k, view.y + (event.deltaY * unit) / view.k, view.k);
  }, { passive: false });

  const jump = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const at = strip.getBoundingClientRect();
    const high = pane.high / view.k;
    const wide = (pane.wide - stripWidth()) / view.k;
    const x = ((event.clientX - at.left) / at.width) * whole.wide;
    move(whole.wide <= wide ? view.x : x - wide / 2, ((event.clientY - at.top) / at.height) * whole.high - high / 2, view.k);
  };
  strip.addEventListener("pointerdown", jump);
  strip.addEventListener("pointermove", jump);

  // --- keys -------------------------------------------------------------------------------------------------------

  // The nearest box in a direction: along a line up and down, in the same layer to the sides.
  function step(key) {
    if (chosen < 0) return boxes.length ? 0 : -1;
    const [x, y] = corner[chosen];
    const far = (at) => Math.abs(corner[at][0] - x);
    if (key === "ArrowDown" || key === "ArrowUp") {
      const found = data.boxes[chosen][key === "ArrowDown" ? "below" : "above"];
      return [...found].sort((one, two) => Math.abs(corner[one][1] - y) - Math.abs(corner[two][1] - y) || far(one) - far(two))[0] ?? chosen;
    }
    const way = key === "ArrowRight" ? 1 : -1;
    const beside = corner.map((_, at) => at).filter((at) => Math.abs(corner[at][1] - y) < 5 && (corner[at][0] - x) * way > 1);
    return beside.sort((one, two) => far(one) - far(two))[0] ?? chosen;
  }

  graph.addEventListener("keydown", (event) => {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key.startsWith("Arrow")) choose(step(key), true);
    else if (key === "Enter" && chosen >= 0) {
      about.tabIndex = -1;
      about.focus();
    } else if (key === "+" || key === "=") zoom(1.25);
    else if (key === "-") zoom(1 / 1.25);
    else if (key === "0") move(0, 0, fitting());
    else if (key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "")) return;
    event.preventDefault();
    search.focus();
  });

  // --- at first: readable, the beginning of the graph in the middle --------------------------------------------------

  measure();
  const first = Math.min(1, Math.max(0.7, (pane.wide - stripWidth()) / whole.wide));
  const top = corner.length ? corner.reduce((best, at) => (at[1] < best[1] ? at : best)) : [0, 0];
  move(top[0] + BOX.wide / 2 - (pane.wide - stripWidth()) / 2 / first, -20, first);
  new ResizeObserver(() => {
    measure();
    move(view.x, view.y, view.k);
  }).observe(graph);
})();
