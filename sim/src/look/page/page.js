"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const NS = "http://www.w3.org/2000/svg";
const LINES = D.lines;

// ---- small helpers -------------------------------------------------------------------------------------------
function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v); else if (v !== null && v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}
function sv(tag, attrs, ...children) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attrs || {})) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
function seconds(t) { return (t / 1000).toFixed(1) + " s"; }
function moment(t) { return t < 6e6 ? seconds(t) : seconds(t) + " (" + span(t) + ")"; }
function span(ms) {
  const s = Math.floor(ms / 1000);
  if (ms < 1e5) return (ms / 1000).toFixed(1) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}
// The last of a sorted list of [time, …] that began by then.
function asOf(list, t) { let found = null; for (const e of list) { if (e[0] <= t) found = e; else break; } return found; }

const ROLES = {
  leads: "leads: accepts writes", standby: "leads a standby cluster", follows: "follows: a replica", starts: "PostgreSQL starts",
  stops: "PostgreSQL stops", prepares: "no PostgreSQL yet: waits, initializes or copies", gone: "no process",
};
const SHORT = { leads: "leads", standby: "standby leader", follows: "follows", starts: "starts", stops: "stops", prepares: "prepares", gone: "" };

// ---- what happened, as one list: steps and events in order of time ------------------------------------------------
const ALL = [];
D.steps.forEach((s, i) => ALL.push({ t: s[0], o: s[2], k: "step", a: "step " + (i + 1), x: s[1], no: i, l: -1 }));
D.events.forEach((e, i) => ALL.push(Object.assign({ ev: i }, e)));
ALL.sort((a, b) => a.t - b.t || a.o - b.o);
ALL.forEach((e, i) => { e.id = i; e.text = (e.a + " " + e.x + " " + (e.i || []).map(i => i[1] + " " + i[2]).join(" ")).toLowerCase(); });
const hidden = new Set(["status", "pass"]);
let query = "";
let current = 0;
let now = 0;
let open = null;

function matches(e) { return (e.k === "step" || !hidden.has(e.k)) && (!query || e.text.includes(query)); }

// ---- time to place: quiet stretches are cut out, busy moments are spread -----------------------------------------
const BREAK = 88;
let zoom = 1;
let least = 0.42;
let stops = [];
function moments() {
  const all = new Set([D.from, D.end]);
  ALL.forEach(e => { if (!hidden.has(e.k)) all.add(e.t); });
  D.gaps.forEach(g => { all.add(g.from); if (g.to) all.add(g.to); });
  D.lanes.forEach(l => (l.states || []).concat(l.runs || []).forEach(s => all.add(s[0])));
  return [...all].filter(t => t >= D.from).sort((a, b) => a - b);
}
function layout(width) {
  const list = moments();
  const place = k => {
    let x = 14; const found = []; let before = null;
    for (const t of list) {
      if (before !== null) {
        const gap = t - before;
        const long = gap > 4000;
        const w = long ? BREAK + Math.min(30, 5 * Math.log2(gap / 4000)) + 26 * k
          : gap < 30 ? 2 * k : Math.max(9 * k, gap / 1000 * 26 * k);
        found.push({ from: before, to: t, x0: x, x1: x + w, long });
        x += w;
      }
      before = t;
    }
    return [found, x + 24];
  };
  let lo = 0.02, hi = 40;
  for (let i = 0; i < 30; i++) { const mid = (lo + hi) / 2; if (place(mid)[1] > width) hi = mid; else lo = mid; }
  // However much there is, marks must be apart enough to be hit.
  const fit = Math.max(lo, least);
  const [found, total] = place(fit * zoom);
  stops = found;
  return total;
}
function X(t) {
  if (!stops.length || t <= stops[0].from) return 14;
  let lo = 0, hi = stops.length - 1;
  while (lo < hi) { const mid = (lo + hi) >> 1; if (stops[mid].to < t) lo = mid + 1; else hi = mid; }
  const s = stops[lo];
  if (t >= s.to) return s.x1;
  return s.x0 + (s.x1 - s.x0) * (t - s.from) / (s.to - s.from);
}
function T(x) {
  for (const s of stops) if (x <= s.x1) return Math.round(s.from + (s.to - s.from) * Math.max(0, x - s.x0) / (s.x1 - s.x0));
  return D.end;
}

// ---- the timeline ---------------------------------------------------------------------------------------------------
const HEIGHT = { faults: 26, client: 30, cluster: 30, member: 42, operator: 34, others: 30 };
const STEPROW = 15;
let laneY = [];
let svg = null;

function cut(text, px) { const most = Math.floor(px / 6); return text.length <= most ? text : most < 3 ? "" : text.slice(0, most - 1) + "…"; }

function draw() {
  const box = $("scroll");
  const width = layout(Math.max(500, box.clientWidth));
  // Steps: numbers in rows, with their words where there is room.
  const rows = []; const placed = [];
  D.steps.forEach((s, i) => {
    const x = X(s[0]);
    const words = Math.min(s[1].length * 6 + 22, 250);
    let row = rows.findIndex(end => end <= x);
    if (row < 0) { row = rows.length; if (row > 5) row = rows.indexOf(Math.min(...rows)); }
    rows[row] = x + words;
    placed.push([x, row, words]);
  });
  placed.forEach((p, i) => {
    const next = placed.slice(i + 1).find(q => q[1] === p[1]);
    if (next) p[2] = Math.min(p[2], next[0] - p[0] - 6);
    p[2] = Math.min(p[2], width - p[0]);
  });
  const top = rows.length * STEPROW + 26;
  const names = $("names"); names.replaceChildren(el("div", { style: `height:${top}px` }, el("b", {}, "Steps of the story"), el("small", {}, "time: quiet stretches cut out")));
  let y = top; laneY = [];
  D.lanes.forEach(l => {
    const h = HEIGHT[l.k]; laneY.push([y, h]);
    names.append(el("div", { style: `height:${h}px`, title: (l.pod ? "Pod " + l.pod + ": " : "") + l.d }, el("b", {}, l.n), el("small", {}, l.d)));
    y += h;
  });
  svg = sv("svg", { width, height: y, viewBox: `0 0 ${width} ${y}`, role: "img", "aria-label": "Timeline of the run" });
  const defs = sv("defs");
  defs.append(sv("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, sv("rect", { width: 2, height: 6, fill: "#fff", opacity: ".35" })));
  svg.append(defs);
  // Cuts.
  stops.filter(s => s.long).forEach(s => {
    const a = s.x0 + 7, b = s.x1 - 7, mid = (a + b) / 2;
    const g = sv("g", {}, sv("title", {}, "nothing worth telling happens for " + span(s.to - s.from)));
    g.append(sv("rect", { class: "cut", x: a, y: top - 20, width: b - a, height: y - top + 20 }));
    for (const x of [a, b]) {
      let d = `M${x} ${top - 20}`; for (let v = top - 20; v < y; v += 10) d += ` l3 5 l-3 5`;
      g.append(sv("path", { class: "cutline", d }));
    }
    g.append(sv("text", { class: "dim", x: mid, y: top - 8, "text-anchor": "middle" }, span(s.to - s.from)));
    svg.append(g);
  });
  // Axis: as many moments as there is room for.
  let last = -99;
  for (const t of [D.from, ...stops.map(s => s.to)]) {
    const x = X(t);
    if (x - last < 46) continue;
    const label = (t / 1000).toFixed(1);
    if (stops.some(s => s.long && ((s.x0 < x && x < s.x1) || Math.abs((s.x0 + s.x1) / 2 - x) < 43))) continue;
    svg.append(sv("line", { class: "tick", x1: x, x2: x, y1: top - 4, y2: y }), sv("text", { class: "dim", x: x, y: top - 8, "text-anchor": x < 20 ? "start" : x > width - 50 ? "end" : "middle" }, label));
    last = x;
  }
  D.lanes.forEach((l, i) => svg.append(sv("line", { class: "rule", x1: 0, x2: width, y1: laneY[i][0], y2: laneY[i][0] })));
  // Write gaps across everything.
  D.gaps.forEach(g => {
    const a = X(g.from), b = X(g.to || D.end);
    svg.append(sv("rect", { class: "gap", x: a, width: Math.max(2, b - a), y: top - 4, height: y - top + 4 }, sv("title", {}, `${g.client} can't write for ${span((g.to || D.end) - g.from)}: ${g.why}`)));
  });
  D.lanes.forEach((l, i) => lane(l, i, width));
  D.steps.forEach((s, i) => {
    const [x, row, room] = placed[i];
    const g = sv("g", { class: "step" }, sv("title", {}, `step ${i + 1}, at ${moment(s[0])}: ${s[1]}`));
    const cy = row * STEPROW + 9;
    g.append(sv("line", { x1: x, x2: x, y1: cy, y2: top - 18 }), sv("circle", { cx: x, cy, r: 7 }), sv("text", { class: "no", x, y: cy + 3.5 }, String(i + 1)), sv("text", { x: x + 10, y: cy + 3.5 }, cut(s[1], room - 14)));
    g.addEventListener("click", e => { e.stopPropagation(); select(ALL.findIndex(a => a.k === "step" && a.no === i)); });
    svg.append(g);
  });
  marks(width);
  svg.append(sv("line", { id: "head", y1: 0, y2: y, x1: 0, x2: 0 }));
  svg.addEventListener("click", e => {
    const t = T(e.clientX - svg.getBoundingClientRect().left);
    goTo(t);
  });
  box.replaceChildren(svg);
  head();
}

function bar(list, i, cls, label, height, top) {
  const [y, h] = laneY[i];
  list.forEach((s, n) => {
    const from = X(s[0]), to = n + 1 < list.length ? X(list[n + 1][0]) : X(D.end);
    const c = cls(s); if (!c || to <= from) return;
    const text = label(s);
    const g = sv("g", {}, sv("title", {}, text + ", from " + moment(s[0])));
    g.append(sv("rect", { class: c, x: from, width: Math.max(1.5, to - from), y: y + top, height, rx: 2 }));
    if (c === "starts" || c === "stops" || c === "False") g.append(sv("rect", { x: from, width: Math.max(1.5, to - from), y: y + top, height, fill: "url(#hatch)" }));
    const room = to - from - 8; const words = cut(text, room);
    if (words.length > 4) g.append(sv("text", { class: c === "prepares" || c === "Unknown" ? "" : "on", x: from + 5, y: y + top + height / 2 + 4 }, words));
    svg.append(g);
  });
}

function lane(l, i, width) {
  const [y, h] = laneY[i];
  if (l.k === "member") {
    bar(l.states, i, s => s[1] === "gone" ? null : s[1], s => SHORT[s[1]] + (s[2] ? `, timeline ${s[2]}` : ""), 16, 4);
    let lastX = -999;
    l.lsn.forEach(p => { const x = X(p[0]); if (p[1] !== "0/0" && x - lastX > 78 && x < width - 60) { svg.append(sv("text", { class: "dim", x, y: y + h - 5, "font-size": 9.5 }, p[1])); lastX = x; } });
  } else if (l.k === "cluster") {
    bar(l.ready, i, s => s[1], s => s[1] === "True" ? "Ready" : `not ready (${s[2]})`, 13, 3);
  } else if (l.k === "operator") {
    bar(l.runs, i, s => s[1] ? null : "down", s => "the operator is down", h - 4, 2);
  } else if (l.k === "client") {
    const gaps = D.gaps.filter(g => g.client === l.n);
    let from = l.from; const end = l.to || D.end; const parts = [];
    gaps.forEach(g => { if (g.from > from) parts.push([from, g.from, true]); parts.push([g.from, g.to || end, false, g]); from = g.to || end; });
    if (from < end) parts.push([from, end, true]);
    parts.forEach(([a, b, writes, g]) => {
      const x = X(a), w = Math.max(2, X(b) - x);
      const text = writes ? "writes" : `can't write for ${span(b - a)}`;
      const n = sv("g", {}, sv("title", {}, text + (g ? ": " + g.why : "")), sv("rect", { class: writes ? "writes" : "gapbar", x, width: w, y: y + 4, height: 13, rx: 2 }));
      if (!writes) n.append(sv("rect", { x, width: w, y: y + 4, height: 13, fill: "url(#hatch)" }));
      const words = cut(text, w - 8); if (words.length > 4) n.append(sv("text", { class: "on", x: x + 5, y: y + 14.5 }, words));
      svg.append(n);
    });
  }
}

function shapeOf(k, x, y, r) {
  if (k === "fault" || k === "failed") return sv("path", { class: "shape", d: `M${x} ${y - r - 1} L${x + r + 1} ${y + r} L${x - r - 1} ${y + r} Z` });
  if (k === "condition") return sv("path", { class: "shape", d: `M${x} ${y - r} L${x + r} ${y} L${x} ${y + r} L${x - r} ${y} Z` });
  if (k === "pod" || k === "job") return sv("path", { class: "shape", d: `M${x - r + 1} ${y - r + 1} h${2 * r - 2} v${2 * r - 2} h${2 - 2 * r} Z` });
  return sv("circle", { class: "shape", cx: x, cy: y, r });
}

// One mark for what stands at one place of a lane.
function marks() {
  const groups = []; const open = {};
  ALL.forEach(e => {
    if (e.l < 0 || hidden.has(e.k) || e.t < D.from) return;
    const x = X(e.t); const last = open[e.l];
    if (last && x - last.x < 15) { last.list.push(e); return; }
    groups.push(open[e.l] = { x, l: e.l, list: [e] });
  });
  const rank = ["fault", "failed", "database", "condition", "write", "run", "client", "pod", "job", "event"];
  for (const g of groups) {
    const [y, h] = laneY[g.l]; const lane = D.lanes[g.l].k;
    const cy = lane === "member" ? y + 25 : lane === "cluster" || lane === "client" ? y + 23 : y + h / 2;
    const first = g.list.slice().sort((a, b) => (rank.indexOf(a.k) + 99) % 99 - (rank.indexOf(b.k) + 99) % 99)[0];
    const many = g.list.reduce((n, e) => n + Math.max(1, (e.i || []).length), 0);
    const r = many > 1 ? (lane === "operator" || lane === "others" || lane === "faults" ? 7.5 : 5.5) : 4.5;
    const m = sv("g", { class: "m " + first.k, "data-ids": g.list.map(e => e.id).join(" ") });
    m.append(sv("title", {}, g.list.slice(0, 12).map(e => `${seconds(e.t)}  ${e.a}: ${e.x}`).join("\n") + (g.list.length > 12 ? `\n… and ${g.list.length - 12} more` : "")));
    m.append(shapeOf(first.k, g.x, cy, r));
    if (many > 1 && r > 6) m.append(sv("text", { x: g.x, y: cy + 3 }, many > 99 ? "…" : String(many)));
    m.addEventListener("click", e => { e.stopPropagation(); const hit = g.list.filter(matches); select((hit[0] || g.list[0]).id); });
    svg.append(m);
    if (lane === "faults") svg.append(sv("text", { x: g.x + 13, y: cy + 4 }, cut(g.list.map(e => e.x).join("; "), 420)));
  }
}

function head() {
  const line = svg.querySelector("#head"); const x = X(now);
  line.setAttribute("x1", x); line.setAttribute("x2", x);
  svg.querySelectorAll(".m").forEach(m => {
    const ids = m.dataset.ids.split(" ").map(Number);
    m.classList.toggle("sel", ids.includes(current));
    m.classList.toggle("off", Boolean(query) && !ids.some(i => matches(ALL[i])));
  });
  const box = $("scroll");
  if (x < box.scrollLeft + 30 || x > box.scrollLeft + box.clientWidth - 30) box.scrollLeft = Math.max(0, x - box.clientWidth / 3);
}

// ---- the list -----------------------------------------------------------------------------------------------------------
function marked(text) {
  if (!query) return [text];
  const parts = []; let at = 0; const low = text.toLowerCase();
  for (let i = low.indexOf(query); i >= 0; i = low.indexOf(query, at)) { parts.push(text.slice(at, i), el("mark", {}, text.slice(i, i + query.length))); at = i + query.length; }
  parts.push(text.slice(at));
  return parts;
}
function list() {
  const ol = $("list"); const rows = []; let before = null; let n = 0;
  for (const e of ALL) {
    if (!matches(e)) continue;
    if (before !== null && e.t - before > 30000 && !query) rows.push(el("li", { class: "quiet" }, el("span"), el("span"), el("span", {}, `${span(e.t - before)} in which nothing happens`)));
    rows.push(el("li", { class: e.k, "data-id": e.id, onclick: () => select(e.id) }, el("span", { class: "t" }, (e.t / 1000).toFixed(1)), el("span", { class: "a", title: e.a }, e.a), el("span", { class: "x" }, ...marked(e.x))));
    before = e.t; n++;
  }
  ol.replaceChildren(...rows);
  $("count").textContent = query ? `${n} match` : `${n} events`;
}

// ---- objects ---------------------------------------------------------------------------------------------------------------
function textAt(o, index) {
  let lines = [];
  for (let v = 0; v <= index; v++) {
    const hunks = o.v[v][3];
    for (let h = hunks.length - 1; h >= 0; h--) { const [at, gone, come] = hunks[h]; lines.splice(at, gone, ...come); }
  }
  return lines;
}
function versionAt(o, t) { let found = -1; o.v.forEach((v, i) => { if (v[0] <= t) found = i; }); return found; }
function exists(o, t) { const v = versionAt(o, t); return v >= 0 && o.v[v][1] !== "-"; }
function link(index, text) { return el("a", { tabindex: 0, role: "button", onclick: () => show(index), onkeydown: e => { if (e.key === "Enter") show(index); } }, text); }

// Names that people read; the real one where there is none, and the namespace where it is not the usual one.
const usual = (() => { const n = {}; D.objects.forEach(o => { n[o.s] = (n[o.s] || 0) + (o.s ? 1 : 0); }); return Object.keys(n).sort((a, b) => n[b] - n[a])[0]; })();
function named(o) { return (o.q ? o.q + ": " : "") + (o.s && o.s !== usual ? o.s + "/" : "") + (o.a.includes("?") || o.a.startsWith("<") ? o.n : o.a); }
const FIRST = ["IvoryCluster", "Pod", "StatefulSet", "ConfigMap", "Secret", "Service", "Endpoints", "PersistentVolumeClaim", "Job", "PodDisruptionBudget"];
function byKind(a, b) { const i = FIRST.indexOf(a), j = FIRST.indexOf(b); return (i < 0 ? 99 : i) - (j < 0 ? 99 : j) || (a < b ? -1 : 1); }

function objects() {
  const wanted = $("objectsearch").value.toLowerCase();
  const before = previous(); const kinds = new Map(); let count = 0;
  D.objects.forEach((o, i) => {
    const v = versionAt(o, now); if (v < 0) return;
    const gone = o.v[v][1] === "-"; const fresh = o.v[v][0] > before;
    if (gone && !fresh) return;
    if (!wanted && !fresh && ["Event", "ControllerRevision"].includes(o.k)) return;
    if (wanted && !`${o.k} ${o.n} ${o.a} ${o.s}`.toLowerCase().includes(wanted)) return;
    if (!kinds.has(o.k)) kinds.set(o.k, []);
    const a = link(i, named(o)); a.title = `${o.k} ${o.s ? o.s + "/" : ""}${o.n}`;
    if (fresh) a.classList.add("new"); if (gone) a.classList.add("gone");
    kinds.get(o.k).push(a); count++;
  });
  const rows = [...kinds.keys()].sort(byKind).map(k => el("div", { class: "kind" }, el("b", {}, k), ...kinds.get(k)));
  $("objects").replaceChildren(...(rows.length ? rows : [el("span", {}, "none")]));
  $("objectcount").textContent = `${count}; ● changed at this moment; search also finds Events`;
}
// The moment before this one, for what counts as new.
function previous() { for (let i = ALL.length - 1; i >= 0; i--) if (ALL[i].t < now && !hidden.has(ALL[i].k)) return ALL[i].t; return now - 1; }

function show(index) { open = index; object(); $("object").scrollIntoView({ block: "nearest" }); }
function object() {
  const box = $("object"); if (open === null) { box.replaceChildren(); return; }
  const o = D.objects[open]; const v = versionAt(o, now);
  const nav = el("div", { class: "head" }, el("b", {}, `${o.k} ${o.s ? o.s + "/" : ""}${o.n}`), o.a !== o.n ? el("small", {}, `(${o.a})`) : null);
  if (v < 0) {
    const first = o.v[0][0];
    nav.append(el("span", {}, " does not exist yet; "), el("button", { onclick: () => goTo(first) }, "go to its creation"));
    box.replaceChildren(nav); return;
  }
  const [at, what, by] = o.v[v];
  nav.append(el("span", {}, `state ${v + 1} of ${o.v.length}, ${{ "+": "made", "~": "changed", "-": "deleted" }[what]} at ${moment(at)}${by ? " by " + by : ""}`));
  if (v > 0) nav.append(el("button", { onclick: () => goTo(o.v[v - 1][0]) }, "‹ before"));
  if (v + 1 < o.v.length) nav.append(el("button", { onclick: () => goTo(o.v[v + 1][0]) }, `next, at ${seconds(o.v[v + 1][0])} ›`));
  nav.append(el("button", { onclick: () => { open = null; object(); } }, "close"));
  // The state with what the last change added and took away.
  const old = v > 0 ? textAt(o, v - 1) : [];
  const pre = el("pre", { tabindex: 0 }); const hunks = o.v[v][3]; let i = 0;
  const line = (n, cls) => el("div", { class: cls }, (cls === "add" ? "+ " : cls === "del" ? "- " : "  ") + LINES[n]);
  if (v === 0) textAt(o, 0).forEach(n => pre.append(line(n, "")));
  else {
    for (const [from, gone, come] of hunks) {
      for (; i < from; i++) pre.append(line(old[i], ""));
      for (; i < from + gone; i++) pre.append(line(old[i], "del"));
      come.forEach(n => pre.append(line(n, "add")));
    }
    for (; i < old.length; i++) pre.append(line(old[i], ""));
  }
  box.replaceChildren(nav, pre);
  const change = pre.querySelector(".add, .del");
  if (change) pre.scrollTop = Math.max(0, change.offsetTop - pre.offsetTop - 120);
}

// ---- the moment ---------------------------------------------------------------------------------------------------------------
function event() {
  const e = ALL[current]; const box = $("event");
  if (!e || e.t !== now) { box.replaceChildren(el("p", { class: "why" }, "nothing is told of this very moment; the state is:")); return; }
  const parts = [el("p", {}, el("b", {}, e.k === "step" ? `Step ${e.no + 1} of the story: ` : e.a + " "), e.x)];
  if (e.i) {
    const rows = e.i.map(([o, name, reason, verb]) => el("li", {}, `${verb} `, o !== null ? link(o, name) : name, el("span", { class: "why" }, e.i.length > 1 && e.i.every(i => i[2] === reason) ? "" : ` — because ${reason}`)));
    parts.push(el("ul", {}, ...rows));
    parts.push(el("p", { class: "why" }, `Why: the step “${e.s}” of the operator's pass wanted it.`));
  }
  if (e.p !== undefined && e.p !== null) {
    const p = D.passes[e.p];
    const found = p.f.map(n => el("li", {}, LINES[n]));
    parts.push(el("details", e.k === "pass" ? { open: "" } : {}, el("summary", {}, `The pass for ${p.c} at ${seconds(p.t)}: ${p.n} writes planned` + (p.q ? `, looks again after ${p.q} s` : "")),
      el("p", { class: "why" }, "It read: " + LINES[p.r] + "."), p.u.length ? el("p", { class: "why" }, "It could not read: " + p.u.map(n => LINES[n]).join("; ")) : null, el("ul", {}, ...found)));
  }
  box.replaceChildren(...parts);
}
function state() {
  const clusters = new Set(D.lanes.filter(l => l.k === "member").map(l => l.cluster)).size;
  const rows = [];
  D.lanes.forEach(l => {
    if (l.k !== "member") return;
    const s = asOf(l.states, now); if (!s) return;
    const lsn = asOf(l.lsn, now);
    rows.push(el("tr", {}, el("td", {}, clusters > 1 ? l.cluster + "/" + l.n : l.n), el("td", {}, el("span", { class: "box " + s[1] }), ROLES[s[1]]), el("td", {}, s[2] ? String(s[2]) : "–"), el("td", {}, lsn && lsn[1] !== "0/0" ? lsn[1] : "–")));
  });
  const facts = [];
  D.lanes.forEach(l => {
    if (l.k === "cluster") { const s = asOf(l.ready, now); facts.push(`${l.n}: ${!s ? "nothing said yet" : s[1] === "True" ? "Ready" : "not ready (" + s[2] + ")"}`); }
    if (l.k === "client" && l.from <= now) {
      const g = D.gaps.find(g => g.client === l.n && g.from <= now && (g.to === null || g.to > now)); const r = asOf(l.rows, now);
      facts.push(`${l.n}: ${l.to !== null && l.to <= now ? "stopped" : g ? "can't write (" + g.why + ")" : "writes"}, ${r ? r[1] : 0} row${r && r[1] === 1 ? "" : "s"} acknowledged`);
    }
    if (l.k === "operator") { const s = asOf(l.runs, now); if (s && !s[1]) facts.push("the operator is down"); }
  });
  const table = rows.length ? el("table", {}, el("tr", {}, ...["instance", "role", "timeline", "log position (LSN)"].map(h => el("th", {}, h))), ...rows) : el("p", { class: "why" }, "No database instance yet.");
  $("state").replaceChildren(table, ...facts.map(f => el("div", {}, f)));
}
function refresh() {
  $("moment").textContent = moment(now);
  head(); event(); state(); objects(); object();
  document.querySelectorAll("#list li[data-id]").forEach(li => {
    const e = ALL[Number(li.dataset.id)];
    li.classList.toggle("later", e.t > now);
    if (e.id === current) li.setAttribute("aria-current", "true"); else li.removeAttribute("aria-current");
  });
  const li = document.querySelector("#list li[aria-current]");
  if (li) { const ol = $("list"); const y = li.offsetTop - ol.offsetTop; if (y < ol.scrollTop || y > ol.scrollTop + ol.clientHeight - 30) ol.scrollTop = Math.max(0, y - ol.clientHeight / 3); }
  try { history.replaceState(null, "", "#" + (current >= 0 ? "e" + current : "t" + now) + (open !== null ? ",o" + open : "")); } catch (e) { /* some browsers refuse it for files */ }
}
function select(id) { if (id < 0 || id >= ALL.length) return; current = id; now = ALL[id].t; refresh(); }
function goTo(t) { now = t; const at = ALL.filter(e => e.t === t && matches(e)); current = at.length ? at[0].id : -1; refresh(); }
function move(by, wanted) {
  const ok = wanted || matches;
  let i = current >= 0 ? current + by : by > 0 ? ALL.findIndex(e => e.t > now) : ALL.filter(e => e.t < now).length - 1;
  for (; i >= 0 && i < ALL.length; i += by) if (ok(ALL[i])) return select(i);
}

// ---- controls ---------------------------------------------------------------------------------------------------------------------
const KEYS = [["← →", "the event before, the next one", null], ["Shift ← →, s", "the step before, the next one", "step"], ["w", "the next write of the operator", "write"], ["d", "the next event of a database", "database"], ["f", "the next fault", "fault"], ["c", "the next condition", "condition"], ["a", "the next event of a client", "client"], ["Home End", "the begin, the end", null], ["+ − 0", "zoom in, out, all", null], ["/", "search", null], ["o", "search objects", null], ["?", "these keys", null]];
const JUMP = Object.fromEntries(KEYS.filter(k => k[2]).map(k => [k[0].slice(-1), k[2]]));
function rezoom(z) { zoom = Math.min(40, Math.max(1, z)); draw(); $("scroll").scrollLeft = Math.max(0, X(now) - $("scroll").clientWidth / 2); }
function help() {
  $("help").replaceChildren(el("h2", {}, "Keys"), el("table", {}, ...KEYS.map(k => el("tr", {}, el("td", {}, el("kbd", {}, k[0])), el("td", {}, k[1])))), el("p", { class: "why" }, "Capital letters go back. A click on the timeline sets the moment."), el("form", { method: "dialog" }, el("button", {}, "close")));
  $("help").showModal();
}
document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.target.tagName === "INPUT") { if (e.key === "Escape") e.target.blur(); return; }
  const key = e.key;
  if (key === "ArrowRight" || key === "ArrowLeft") { const by = key === "ArrowRight" ? 1 : -1; move(by, e.shiftKey ? x => x.k === "step" : null); }
  else if (key === "Home") select(ALL.findIndex(matches)); else if (key === "End") { for (let i = ALL.length - 1; i >= 0; i--) if (matches(ALL[i])) { select(i); break; } }
  else if (key === "+" || key === "=") rezoom(zoom * 1.5); else if (key === "-") rezoom(zoom / 1.5); else if (key === "0") rezoom(1);
  else if (key === "/") $("search").focus(); else if (key === "o") $("objectsearch").focus(); else if (key === "?") help();
  else if (JUMP[key.toLowerCase()]) { const k = JUMP[key.toLowerCase()]; move(key === key.toLowerCase() ? 1 : -1, x => x.k === k || (k === "write" && x.k === "run")); }
  else return;
  e.preventDefault();
});
$("back").onclick = () => move(-1); $("on").onclick = () => move(1); $("in").onclick = () => rezoom(zoom * 1.5); $("out").onclick = () => rezoom(zoom / 1.5); $("fit").onclick = () => rezoom(1); $("keys").onclick = help;
$("search").oninput = e => { query = e.target.value.trim().toLowerCase(); list(); refresh(); };
$("search").onkeydown = e => { if (e.key === "Enter") { move(1); } };
$("objectsearch").oninput = objects;
D.kinds.forEach(([k, words]) => {
  if (!D.events.some(e => e.k === k)) return;
  const b = el("button", { "aria-pressed": String(!hidden.has(k)), onclick: () => { if (hidden.has(k)) hidden.delete(k); else hidden.add(k); b.setAttribute("aria-pressed", String(!hidden.has(k))); draw(); list(); refresh(); } }, words);
  $("kinds").append(b);
});

// ---- begin --------------------------------------------------------------------------------------------------------------------------
function legend() {
  const item = (cls, text) => el("span", {}, el("span", { class: "box " + cls }), text);
  const here = new Set(D.lanes.flatMap(l => (l.states || []).map(s => s[1])));
  $("legend").replaceChildren(...Object.keys(ROLES).filter(r => here.has(r)).map(r => item(r, ROLES[r])), item("writes", "a client writes"), item("gap", "a client can't write"), item("True", "the cluster is Ready"), item("False", "it is not"), item("cut", "time in which nothing happens, cut out"),
    el("span", { class: "shapes" }, "● a write or message  ◆ a condition  ■ a Pod or Job  ▲ a fault  (a number: so many at once)"));
  $("howto").replaceChildren(el("p", {}, "The numbers on top are the steps of the story. A mark is something that happened, a number in it how many things at once. "
      + "An instance is a PostgreSQL database in a Pod with Patroni; instance1/2 is the second one of the set instance1. One of them leads, which means that it accepts writes; the others follow and copy its log (WAL). "
      + "When another one takes over, a new timeline begins; the LSN says how far a log goes. The operator looks at everything, decides in steps, and writes objects: each write has a reason. "
      + "Time is virtual, in seconds since the world began. It is not to scale: quiet stretches are cut, busy moments are spread. Click a mark, a line of the list, or any moment; the state of everything then is shown below. Values of Secrets are never shown."));
}
$("name").textContent = D.name; $("headline").textContent = D.headline.join(" "); $("description").textContent = D.description;
const f = D.figures; const chip = (text, cls) => el("li", cls ? { class: cls } : {}, text);
$("figures").append(f.failure ? chip("failed", "bad") : chip("passed", "good"), chip(f.virtual + " of virtual time"), chip(f.steps + " steps"), chip(f.writes + " writes by the operator"), ...(f.clients ? [chip("write gap " + f.gap_s.toFixed(1) + " s"), chip(f.lost_rows + " rows lost", f.lost_rows ? "bad" : "")] : []), chip("seed " + D.seed));
document.querySelector("main").hidden = false;
legend();
const asked = /^#(?:e(\d+)|t(\d+))(?:,o(\d+))?/.exec(location.hash);
const cluster = D.objects.findIndex(o => o.k === "IvoryCluster");
open = cluster < 0 ? null : cluster;
if (asked && asked[3]) open = Math.min(Number(asked[3]), D.objects.length - 1);
draw(); list();
const start = [e => e.k === "fault", e => e.k === "client" && e.x.startsWith("can't"), e => e.x.startsWith("promotes")].map(f => ALL.findIndex(f)).find(i => i >= 0) ?? 0;
if (asked && asked[1]) select(Math.min(Number(asked[1]), ALL.length - 1)); else if (asked && asked[2]) goTo(Number(asked[2])); else select(Math.max(0, start));
let timer = 0; addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(() => { draw(); }, 80); });
addEventListener("beforeprint", () => { zoom = 1; least = 0.02; $("about").open = true; draw(); });
addEventListener("afterprint", () => { least = 0.42; draw(); });
