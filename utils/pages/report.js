// The report of a training: curves whose values can be read, and a sheet for every step that has one.

const REFRESH = 30; // seconds between looks for something new, while the run goes on
const COLOURS = ["one", "two", "three", "four", "five"];
const [WIDE, HIGH] = [1000, 300]; // of a chart's own units

const STRINGS = {
  en: {
    title: "Training", quality: "Scores", measure: "Measure", losses: "Losses, weighted", sheets: "Sheets", sheet: "Step",
    running: "going on", ended: "ended", none: "Nothing has been scored yet.", refreshed: "This page looks for news every half minute.",
  },
  zh: {
    title: "訓練", quality: "評分", measure: "指標", losses: "損失（加權）", sheets: "樣張", sheet: "步數",
    running: "進行中", ended: "已結束", none: "還沒有評分。", refreshed: "這一頁每半分鐘更新一次。",
    measures: {
      l1: "L1 ↓", psnr: "PSNR ↑", ssim: "SSIM ↑", ink_iou: "墨跡 IoU ↑", edge_distance: "邊緣距離（像素）↓",
      stray_specks: "每字的墨點 ↓", stray_holes: "每字的白點 ↓", greyness: "灰色像素比（1 最好）",
    },
  },
};

const words = isChinese ? STRINGS.zh : STRINGS.en;
const key = `zi2zi report ${data.name}`;

function drawn(tag, className, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  node.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** What the reader has chosen, which a refresh leaves as it is. */
function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(key)) || {};
  } catch {
    return {};
  }
}

function keep(changes) {
  try {
    sessionStorage.setItem(key, JSON.stringify({ ...recall(), ...changes }));
  } catch {
    // The next refresh begins anew.
  }
}

const short = (value) => (value === 0 ? "0" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(4));

/**
 * A chart of `curves`, values by their names, over `steps`. By pointer, or by the arrow keys, the
 * values of a step are read.
 */
function chart(steps, curves) {
  const box = made("div", "chart");
  const picture = drawn("svg", "", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", tabindex: "0", role: "slider" });
  const names = Object.keys(curves);
  picture.setAttribute("aria-label", names.join(", "));
  const all = names.flatMap((name) => curves[name]);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = high - low || Math.abs(high) || 1;
  const x = (place) => (steps.length > 1 ? ((steps[place] - steps[0]) / (steps[steps.length - 1] - steps[0])) * WIDE : WIDE / 2);
  const y = (value) => HIGH * (0.95 - (0.9 * (value - low)) / room);
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + share * room;
    picture.append(drawn("line", "grid", { x1: 0, x2: WIDE, y1: y(value), y2: y(value) }));
    const scale = made("span", "scale", short(value));
    scale.style.top = `${(100 * y(value)) / HIGH}%`;
    box.append(scale);
  }
  names.forEach((name, number) => {
    const points = curves[name].map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
    const curve = drawn("polyline", "curve", { points: points.join(" ") });
    curve.style.stroke = `var(--${COLOURS[number % COLOURS.length]})`;
    picture.append(curve);
  });
  const cursor = drawn("line", "cursor", { y1: 0, y2: HIGH });
  const values = made("p", "values");
  values.setAttribute("aria-live", "polite");
  let at = steps.length - 1;
  const read = (place) => {
    at = Math.min(Math.max(place, 0), steps.length - 1);
    picture.setAttribute("aria-valuemin", steps[0]);
    picture.setAttribute("aria-valuemax", steps[steps.length - 1]);
    picture.setAttribute("aria-valuenow", steps[at]);
    cursor.setAttribute("x1", x(at));
    cursor.setAttribute("x2", x(at));
    values.replaceChildren(made("b", "", isChinese ? `第 ${steps[at]} 步` : `step ${steps[at]}`));
    names.forEach((name, number) => {
      const shown = made("span", "", `${name} ${short(curves[name][at])}`);
      shown.style.color = `var(--${COLOURS[number % COLOURS.length]})`;
      values.append(shown);
    });
    picture.setAttribute("aria-valuetext", values.textContent);
  };
  picture.append(cursor);
  picture.addEventListener("pointermove", (event) => {
    const { left, width } = picture.getBoundingClientRect();
    const wanted = steps[0] + ((event.clientX - left) / width) * (steps[steps.length - 1] - steps[0]);
    let best = 0;
    steps.forEach((step, place) => {
      if (Math.abs(step - wanted) < Math.abs(steps[best] - wanted)) best = place;
    });
    read(best);
  });
  picture.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    read(moves[event.key]);
  });
  read(at);
  box.prepend(picture);
  const whole = made("div", "curves");
  whole.append(values, box);
  return whole;
}

function showQuality() {
  const measure = element("measure").value;
  keep({ measure });
  const old = element("quality").querySelector(".curves");
  if (old) old.remove();
  const ending = `_${measure}`;
  const curves = Object.fromEntries(Object.entries(data.quality.columns)
    .filter(([name]) => name.endsWith(ending))
    .map(([name, values]) => [name.slice(0, -ending.length).replaceAll("_", " "), values]));
  element("quality").append(chart(data.quality.steps, curves));
}

function showSheet() {
  const place = Number(element("sheet").value);
  const [step, file] = data.sheets[place];
  keep({ sheet: place === data.sheets.length - 1 ? null : step });
  element("picture").src = file;
  element("picture").alt = element("shown").textContent = isChinese ? `第 ${step} 步` : `step ${step}`;
}

/** Look for something new, but not while somebody reads a value or chooses. */
function refresh() {
  const isBusy = document.activeElement && document.activeElement.matches("select, svg");
  if (document.hidden || isBusy) setTimeout(refresh, REFRESH * 1000);
  else location.reload();
}

function begin() {
  say(words);
  document.title = `${words.title}${isChinese ? "：" : ": "}${data.name}`;
  document.querySelector("h1").textContent = document.title;
  const of = data.total ? (isChinese ? `，共 ${data.total} 步` : ` of ${data.total}`) : "";
  const length = isChinese ? `第 ${data.step} 步${of}` : `step ${data.step}${of}`;
  const state = data.ended ? words.ended : `${words.running} · ${words.refreshed}`;
  element("state").textContent = `${length} · ${state}`;
  const chosen = recall();
  if (data.quality.steps.length) {
    for (const [measure, heading] of data.measures) {
      const option = made("option", "", (words.measures || {})[measure] || heading);
      option.value = measure;
      element("measure").append(option);
    }
    if (data.measures.some(([measure]) => measure === chosen.measure)) element("measure").value = chosen.measure;
    element("measure").addEventListener("change", showQuality);
    showQuality();
  } else {
    element("quality").append(made("p", "", words.none));
  }
  if (data.losses.steps.length) element("losses").append(chart(data.losses.steps, data.losses.columns));
  element("losses").hidden = !data.losses.steps.length;
  element("sheets").hidden = !data.sheets.length;
  if (data.sheets.length) {
    const known = data.sheets.findIndex(([step]) => step === chosen.sheet);
    element("sheet").max = data.sheets.length - 1;
    element("sheet").value = known < 0 ? data.sheets.length - 1 : known;
    element("sheet").addEventListener("input", showSheet);
    showSheet();
  }
  if (!data.ended) setTimeout(refresh, REFRESH * 1000);
}

begin();
