// The review page: shows drawings, the worst first, and keeps what is decided of them.

const MARKS = ["good", "redraw", "leave_out"];
const GAP = 8; // pixels between cards
const SCREENS = 1; // above and below the one that is seen, whose cards are there too
const SIZES = [20, 28, 40, 64]; // pixels of the em in the lines of text
const TEXT = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨露結為霜";

const STRINGS = {
  en: {
    title: "Review", search: "Search", mark: "Mark", reason: "Reason", charset: "Charset", block: "Block", order: "Order",
    save: "Save review.json", open: "Open a review.json", help: "Keys", setting: "A line of your text",
    telling: "tell generated glyphs", all: "all", none: "unmarked", good: "good", redraw: "redraw", leave_out: "leave out",
    worst: "worst first", code: "by code point", source: "source", drawn: "generated", other: "before", own: "yours",
    nothing: "No drawing is like this.", of: "of", shown: "shown",
    otherReview: "This is a review of another experiment: nothing was taken over.",
    damaged: "This is no review.json: nothing was taken over.", taken: "marks taken over",
    unsaved: "The browser keeps no marks of this page: save review.json before you leave.",
    keys: [["← → ↑ ↓", "go to another drawing"], ["G", "good"], ["R", "redraw"], ["X", "leave out"], ["U", "no mark"],
      ["N", "next unmarked"], ["/", "search"], ["Esc", "back to the drawings"],
      ["Home End", "first and last"], ["S", "save review.json"], ["?", "these keys"]],
    reasons: { parts: "number of parts", holes: "number of holes", ink: "amount of ink", specks: "specks",
      likeness: "ink lies elsewhere", local: "ink missing or added", reach: "another box", border: "cut at the border",
      greyness: "grey edges", weights: "raw and EMA disagree" },
  },
  zh: {
    title: "檢視", search: "搜尋", mark: "標記", reason: "原因", charset: "字集", block: "區段", order: "順序",
    save: "儲存 review.json", open: "開啟 review.json", help: "快速鍵", setting: "用您的文字排一行",
    telling: "標出生成的字", all: "全部", none: "未標記", good: "可用", redraw: "重畫", leave_out: "不放入字型",
    worst: "最可疑的在前", code: "依碼位", source: "來源", drawn: "生成", other: "先前", own: "您畫的",
    nothing: "沒有符合條件的字。", of: "／", shown: "顯示中",
    otherReview: "這是另一個實驗的檢視結果，沒有採用任何標記。",
    damaged: "這不是 review.json，沒有採用任何標記。", taken: "個標記已採用",
    unsaved: "瀏覽器無法保存這一頁的標記，離開前請先儲存 review.json。",
    keys: [["← → ↑ ↓", "移到其他字"], ["G", "可用"], ["R", "重畫"], ["X", "不放入字型"], ["U", "清除標記"],
      ["N", "下一個未標記的字"], ["/", "搜尋"], ["Esc", "回到字"],
      ["Home End", "第一個與最後一個"], ["S", "儲存 review.json"], ["?", "顯示快速鍵"]],
    reasons: { parts: "筆畫塊數不同", holes: "孔洞的數目不同", ink: "墨量不同", specks: "雜點",
      likeness: "墨跡位置不同", local: "局部缺墨或多墨", reach: "外框不同", border: "在邊緣被截斷",
      greyness: "邊緣模糊", weights: "未平均與 EMA 權重不一致" },
  },
};

const words = isChinese ? STRINGS.zh : STRINGS.en;
const glyphs = data.glyphs.map(([code, score, reasons, block, charsets, beside], place) => ({
  code, score, reasons, block, charsets, beside, place,
  character: String.fromCodePoint(code),
  name: "U+" + code.toString(16).toUpperCase().padStart(4, "0"),
}));
const byCode = new Map(glyphs.map((glyph) => [glyph.code, glyph]));
const own = Array.from(data.own);
const ownPlaces = new Map(own.map((character, place) => [character, place]));
const key = `zi2zi review ${data.experiment} ${data.label} ${data.step}`; // other drawings have other marks
const marks = new Map(); // of code points
const cards = new Map(); // elements of the glyphs that are near the screen, by their place in `chosen`
let chosen = glyphs;
let at = 0; // the place of the current glyph in `chosen`
let columns = 1;
let keeps = true; // whether the browser keeps marks

// ---------------------------------------------------------------------------------------------------- pictures

const addresses = new Map(); // of sprites, made when first needed

function address(kind, number) {
  const id = `${kind}-${number}`;
  if (!addresses.has(id)) {
    const text = atob(element(id).textContent);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    addresses.set(id, URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
  }
  return addresses.get(id);
}

/** Show in `node` the glyph that is `place`-th of its kind, on a canvas of `side` pixels. */
function picture(node, kind, place, side) {
  const each = data.across * data.across;
  const within = place % each;
  const [row, column] = [Math.floor(within / data.across), within % data.across];
  node.style.backgroundImage = `url(${address(kind, Math.floor(place / each))})`;
  node.style.backgroundSize = `${data.across * side}px auto`;
  node.style.backgroundPosition = `${-column * side}px ${-row * side}px`;
}

// ------------------------------------------------------------------------------------------------------- marks

function keep() {
  try {
    localStorage.setItem(key, JSON.stringify([...marks]));
  } catch {
    keeps = false;
  }
}

function recall() {
  try {
    for (const [code, mark] of JSON.parse(localStorage.getItem(key) || "[]")) {
      if (byCode.has(code) && MARKS.includes(mark)) marks.set(code, mark);
    }
  } catch {
    keeps = false;
  }
}

function setMark(glyph, mark) {
  if (mark && marks.get(glyph.code) !== mark) marks.set(glyph.code, mark);
  else marks.delete(glyph.code);
  keep();
  const place = chosen.indexOf(glyph);
  if (cards.has(place)) dress(cards.get(place), glyph);
  count();
}

function review() {
  const named = [...marks].sort(([a], [b]) => a - b).map(([code, mark]) => [byCode.get(code).name, mark]);
  return {
    format: data.format, experiment: data.experiment, name: data.name, label: data.label, step: data.step,
    marks: Object.fromEntries(named),
  };
}

function save() {
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(review(), null, 1) + "\n"], { type: "application/json" }));
  link.download = "review.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function take(text) {
  let found;
  try {
    found = JSON.parse(text);
    if (found.format !== data.format || !found.marks || typeof found.marks !== "object") throw new Error();
  } catch {
    return words.damaged;
  }
  if (found.experiment !== data.experiment || found.label !== data.label) return words.otherReview;
  let taken = 0;
  for (const [name, mark] of Object.entries(found.marks)) {
    const code = parseInt(name.replace("U+", ""), 16);
    if (!byCode.has(code) || !MARKS.includes(mark)) continue;
    marks.set(code, mark);
    taken += 1;
  }
  keep();
  choose();
  return `${taken} ${words.taken}`;
}

// --------------------------------------------------------------------------------------------------- the cards

function count() {
  const counts = MARKS.map((mark) => `${[...marks.values()].filter((one) => one === mark).length} ${words[mark]}`);
  const rest = `${glyphs.length - marks.size} ${words.none}`;
  const unsaved = keeps ? [] : [words.unsaved];
  element("counts").textContent = [
    `${chosen.length} ${words.of} ${glyphs.length} ${words.shown}`, ...counts, rest, ...unsaved,
  ].join(" · ");
}

/** Let a card show what is decided of its glyph. */
function dress(card, glyph) {
  const mark = marks.get(glyph.code);
  card.className = `card ${mark || ""}`;
  for (const button of card.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === mark));
  }
  const said = mark ? words[mark] : words.none;
  card.setAttribute("aria-label", `${glyph.character} ${glyph.name}, ${said}, ${reasonsOf(glyph)}`);
}

const reasonsOf = (glyph) => glyph.reasons.map((number) => words.reasons[data.reasons[number]]).join(", ");

function cardOf(glyph, place) {
  const card = made("article");
  const figures = made("div", "figures");
  const shown = [["source", glyph.place], ...(data.compared ? [["other", glyph.place]] : []), ["drawn", glyph.place]];
  const beside = glyph.beside.slice(0, data.compared ? 1 : 2).map((number) => ["own", number]);
  for (const [kind, number] of [...shown, ...beside]) {
    const figure = made("div", `figure ${kind}`);
    figure.dataset.kind = kind;
    figure.dataset.place = number;
    figure.title = kind === "own" ? `${words.own}: ${own[number]}` : words[kind];
    picture(figure, kind, number, side());
    figures.append(figure);
  }
  const names = made("div", "names");
  names.append(made("b", "", glyph.character), made("span", "", glyph.name), made("span", "reasons", reasonsOf(glyph)));
  names.title = reasonsOf(glyph);
  const buttons = made("div", "marks");
  for (const mark of MARKS) {
    const button = made("button", mark, words[mark]);
    button.type = "button";
    button.value = mark;
    button.tabIndex = -1; // the keys G, R, X do the same from the card
    buttons.append(button);
  }
  card.append(figures, names, buttons);
  card.dataset.place = place;
  dress(card, glyph);
  return card;
}

const side = () => Math.min(data.cell, Math.floor((document.documentElement.clientWidth - 48) / 4));

function layout() {
  const width = 4 * side() + 3 * 4 + 18;
  const height = side() + 68;
  const room = document.documentElement.clientWidth - 16;
  columns = Math.max(1, Math.floor((room + GAP) / (width + GAP)));
  return { width, height };
}

/** Have the cards near the screen there, and no others. */
function show() {
  const { width, height } = layout();
  const main = element("glyphs");
  document.documentElement.style.setProperty("--cell", `${side()}px`);
  main.style.height = `${Math.ceil(chosen.length / columns) * (height + GAP)}px`;
  const top = window.scrollY - main.offsetTop;
  const margin = SCREENS * window.innerHeight;
  const first = Math.max(0, Math.floor((top - margin) / (height + GAP))) * columns;
  const last = Math.min(chosen.length, Math.ceil((top + window.innerHeight + margin) / (height + GAP)) * columns);
  for (const [place, card] of cards) {
    if ((place < first || place >= last) && card !== document.activeElement) {
      card.remove();
      cards.delete(place);
    }
  }
  let next = null; // the card that follows: in the document they stand as they are seen
  for (let place = last - 1; place >= first; place -= 1) {
    if (!cards.has(place)) {
      cards.set(place, cardOf(chosen[place], place));
      main.insertBefore(cards.get(place), next);
    }
    const card = cards.get(place);
    next = card;
    card.tabIndex = place === Math.min(Math.max(at, first), last - 1) ? 0 : -1;
    card.style.width = `${width}px`;
    card.style.height = `${height}px`;
    card.style.left = `${(place % columns) * (width + GAP)}px`;
    card.style.top = `${Math.floor(place / columns) * (height + GAP)}px`;
  }
}

/** Lay the cards out anew: they have another size. */
function resize() {
  for (const card of cards.values()) {
    for (const figure of card.querySelectorAll(".figure")) picture(figure, figure.dataset.kind, Number(figure.dataset.place), side());
  }
  show();
}

function clear() {
  for (const card of cards.values()) card.remove();
  cards.clear();
  element("glyphs").replaceChildren();
}

/** Choose what is shown by the filters. */
function choose() {
  const current = chosen[at];
  const text = element("search").value.trim();
  const values = Object.fromEntries(["mark", "reason", "charset", "block"].map((id) => [id, element(id).value]));
  const codes = new Set([...text.matchAll(/U\+([0-9a-f]{4,6})/gi)].map((match) => parseInt(match[1], 16)));
  const characters = new Set(text.replace(/U\+[0-9a-f]{4,6}/gi, "").replace(/\s/g, ""));
  chosen = glyphs.filter((glyph) =>
    (!text || codes.has(glyph.code) || characters.has(glyph.character)) &&
    (!values.mark || (marks.get(glyph.code) || "none") === values.mark) &&
    (!values.reason || glyph.reasons.includes(Number(values.reason))) &&
    (!values.charset || (glyph.charsets >> Number(values.charset)) & 1) &&
    (!values.block || glyph.block === Number(values.block)));
  if (element("order").value === "code") chosen = [...chosen].sort((a, b) => a.code - b.code);
  at = Math.max(0, chosen.indexOf(current));
  clear();
  count();
  if (!chosen.length) element("glyphs").append(made("p", "none", words.nothing));
  show();
}

function go(place) {
  if (!chosen.length) return;
  const { height } = layout();
  at = Math.min(Math.max(place, 0), chosen.length - 1);
  const top = element("glyphs").offsetTop + Math.floor(at / columns) * (height + GAP);
  if (top < window.scrollY || top + height > window.scrollY + window.innerHeight) {
    window.scrollTo(0, top - Math.max(0, (window.innerHeight - height) / 2));
  }
  show();
  cards.get(at).focus({ preventScroll: true });
}

/** Go to the next drawing without a mark, from the first again after the last. */
function nextUnmarked() {
  const open = (glyph) => !marks.has(glyph.code);
  const place = chosen.findIndex((glyph, number) => number > at && open(glyph));
  const again = place < 0 ? chosen.findIndex(open) : place;
  if (again >= 0) go(again);
}

// ----------------------------------------------------------------------------------------------- a line of text

function set() {
  const lines = element("lines");
  lines.replaceChildren();
  if (!element("setting").open) return;
  for (const size of SIZES) {
    const line = made("p");
    line.style.lineHeight = `${Math.round(size * 1.4)}px`;
    for (const character of element("words").value) line.append(letter(character, size));
    lines.append(line);
  }
}

/** A character as large as in text, by the em: drawn by the user, generated, or, in grey, from another font. */
function letter(character, size) {
  const glyph = byCode.get(character.codePointAt(0));
  const place = ownPlaces.get(character);
  const node = made("span", "glyph");
  node.style.width = node.style.height = `${size}px`;
  if (place === undefined && !glyph) {
    node.classList.add("lacking");
    node.textContent = character;
    node.style.fontSize = `${size}px`;
    node.style.lineHeight = "1";
    return node;
  }
  if (place === undefined) node.classList.add("generated");
  const canvas = size / data.em;
  const shown = made("span", "picture");
  shown.style.width = shown.style.height = `${canvas}px`;
  shown.style.left = shown.style.top = `${(size - canvas) / 2}px`;
  shown.setAttribute("role", "img");
  shown.setAttribute("aria-label", character);
  picture(shown, place === undefined ? "drawn" : "own", place === undefined ? glyph.place : place, canvas);
  node.append(shown);
  return node;
}

// --------------------------------------------------------------------------------------------------- beginning

function fill(id, options) {
  for (const [value, text] of options) {
    const option = made("option", "", text);
    option.value = value;
    element(id).append(option);
  }
}

function translate() {
  say(words);
  const step = data.step === null ? "" : isChinese ? `，第 ${data.step} 步` : `, step ${data.step}`;
  const [colon, comma] = isChinese ? ["：", "，"] : [": ", ", "];
  document.title = `${words.title}${colon}${data.name}`;
  document.querySelector("h1").textContent = `${document.title}${comma}${data.label_name}${step}`;
  const all = ["", words.all];
  fill("mark", [all, ["none", words.none], ...MARKS.map((mark) => [mark, words[mark]])]);
  fill("reason", [all, ...data.reasons.map((reason, number) => [number, words.reasons[reason]])]);
  fill("charset", [all, ...data.charsets.map((name, number) => [number, name])]);
  fill("block", [all, ...data.blocks.map((name, number) => [number, name])]);
  fill("order", [["worst", words.worst], ["code", words.code]]);
  for (const [name, text] of words.keys) element("keys").append(made("dt", "", name), made("dd", "", text));
  element("words").value = TEXT;
  element("words").setAttribute("aria-label", words.setting);
}

function toggleHelp() {
  element("keys").hidden = !element("keys").hidden;
  element("help").setAttribute("aria-expanded", String(!element("keys").hidden));
  show();
}

const KEYS = {
  ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), ArrowDown: () => go(at + columns),
  ArrowUp: () => go(at - columns), Home: () => go(0), End: () => go(chosen.length - 1),
  g: () => decide("good"), r: () => decide("redraw"), x: () => decide("leave_out"), u: () => decide(null),
  n: nextUnmarked, s: save, "?": toggleHelp, "/": () => element("search").focus(),
};

/** Mark the current drawing; one that can't be seen is gone to first. */
function decide(mark) {
  if (!chosen[at]) return;
  const box = cards.has(at) ? cards.get(at).getBoundingClientRect() : null;
  if (box && box.bottom > 0 && box.top < window.innerHeight) setMark(chosen[at], mark);
  else go(at);
}

function listen() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input:not([type=checkbox]), select");
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping && event.key === "Escape") {
      event.preventDefault(); // which would empty the field
      go(at);
    }
    if (isTyping) return;
    // Of an input method for Chinese, the key itself.
    const pressed = /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key;
    const action = KEYS[pressed];
    if (!action || (event.repeat && !pressed.startsWith("Arrow"))) return;
    event.preventDefault();
    action();
  });
  element("glyphs").addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    const place = Number(card.dataset.place);
    if (event.target.value) setMark(chosen[place], event.target.value);
    go(place);
  });
  let waiting = false;
  window.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      show();
    });
  });
  window.addEventListener("resize", resize);
  for (const id of ["mark", "reason", "charset", "block", "order"]) element(id).addEventListener("change", choose);
  element("search").addEventListener("input", choose);
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  element("save").addEventListener("click", save);
  element("help").addEventListener("click", toggleHelp);
  element("open").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) element("counts").textContent = take(await file.text());
    event.target.value = "";
  });
  element("words").addEventListener("input", set);
  element("setting").addEventListener("toggle", () => {
    set();
    show();
  });
  element("telling").addEventListener("change", (event) => {
    element("lines").classList.toggle("telling", event.target.checked);
  });
}

translate();
recall();
listen();
choose();
