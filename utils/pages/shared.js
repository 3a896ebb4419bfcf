"use strict";
// What the pages share: the reader's language, their data, and making elements.

const isChinese = (navigator.language || "").toLowerCase().startsWith("zh");
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);

function made(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Put `words`, which are those of the reader's language, where the page names them. */
function say(words) {
  document.documentElement.lang = isChinese ? "zh-Hant" : "en";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = words[node.dataset.text];
}

