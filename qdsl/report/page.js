"use strict";
const root = document.documentElement;
const theme = document.getElementById("theme");

function dark() {
  return (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}

function remember(value) {
  try { localStorage.setItem("qdsl-theme", value); } catch { /* a page from a file may not */ }
}

function show(value) {
  if (value) root.dataset.theme = value;
  theme.setAttribute("aria-pressed", String(dark()));
  theme.textContent = dark() ? "Light" : "Dark";
}

theme.addEventListener("click", () => {
  const value = dark() ? "light" : "dark";
  remember(value);
  show(value);
});
let kept = null;
try { kept = localStorage.getItem("qdsl-theme"); } catch { /* as above */ }
show(kept === "dark" || kept === "light" ? kept : null);

// Numbers by value, text by its words; what is not measured stands last either way.
function order(row, at) {
  const cell = row.cells[at];
  const exact = cell.dataset.v;
  if (exact === undefined) return cell.textContent;
  return exact === "" ? null : Number(exact);
}

function compare(one, two) {
  if (typeof one === "number" && typeof two === "number") return one - two;
  return String(one).localeCompare(String(two), "en", { numeric: true });
}

// Where the screen is narrow, each cell says the name of its column; the layers, which are many, scroll instead.
for (const table of document.querySelectorAll("table.sortable:not([id^=layers-])")) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  for (const row of table.tBodies[0].rows) for (const cell of row.cells) cell.dataset.column = names[cell.cellIndex];
  table.classList.add("rows");
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const at = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = button.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => [order(row, at), row]);
    rows.sort(([one], [two]) => {
      if (one === null || two === null) return (one === null) - (two === null);
      return up ? compare(one, two) : compare(two, one);
    });
    body.append(...rows.map(([, row]) => row));
  });
}

for (const field of document.querySelectorAll("input[data-filter]")) {
  const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
  const count = document.querySelector(`output[data-count="${field.dataset.filter}"]`);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} layers`;
  });
}
