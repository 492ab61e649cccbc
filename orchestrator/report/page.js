// The page is whole without this: it adds sorting, filtering, and opening the trial that a link leads to.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const UNITS = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };

// The number that a cell begins with ("46.3 ± 0.4", "−0.6", "12.5 GFLOP"), else its text; null where nothing is there.
function valueOf(cell) {
  const text = cell.textContent.trim().replace("−", "-").replace(/(\d),(?=\d{3})/g, "$1");
  if (text === "" || text === "–") return null;
  const found = text.match(/^[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?:\s([kMGTP])FLOP)?(?![\w.+])/);
  return found ? parseFloat(found[0]) * (UNITS[found[1]] ?? 1) : text;
}

function compared(one, other) {
  if (typeof one === typeof other) return typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
  return typeof one === "number" ? -1 : 1;
}

// Each click on a heading: accuracies and other numbers largest first, texts from A; the other way; as it was written.
function sortBy(table, column) {
  const heading = table.tHead.rows[0].cells[column], body = table.tBodies[0];
  const keyed = all("tr", body).map(row => ({ row, value: valueOf(row.cells[column]), place: Number(row.dataset.place) }));
  const numeric = column > 0 && keyed.some(one => typeof one.value === "number");
  const orders = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
  const order = orders[(orders.indexOf(heading.getAttribute("aria-sort")) + 1) % 3];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (order) heading.setAttribute("aria-sort", order);
  const sign = order === "descending" ? -1 : 1;
  keyed.sort((one, other) => {
    if (!order || one.value === other.value) return one.place - other.place;
    if (one.value === null || other.value === null) return one.value === null ? 1 : -1;  // what is absent is last
    return sign * compared(one.value, other.value);
  });
  body.append(...keyed.map(one => one.row));
}

for (const table of all("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  all("tr", table.tBodies[0]).forEach((row, place) => { row.dataset.place = place; });
  all("th", table.tHead).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, column));
    heading.append(button);
  });
}

// Every word must be in what is to stay.
function filter(box, entries) {
  const words = box.value.toLowerCase().split(/\s+/);
  for (const one of entries) one.hidden = !words.every(word => one.textContent.toLowerCase().includes(word));
  const left = entries.filter(one => !one.hidden).length;
  box.closest(".filter").querySelector("output").value = box.value.trim() ? `${left} of ${entries.length}` : "";
}

for (const box of all(".filter input")) {
  const entries = all(box.dataset.filters);
  box.closest(".filter").hidden = false;
  box.addEventListener("input", () => filter(box, entries));
  if (box.value) filter(box, entries);  // kept by a browser that comes back to the page
}

function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.matches(".trials > li") && target.querySelector("details");
  if (!details) return;
  target.hidden = false;
  details.open = true;
  target.scrollIntoView({ block: "center" });
  details.querySelector("summary").focus({ preventScroll: true });
}

addEventListener("hashchange", open);
open();
