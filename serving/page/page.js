// The page: draws, sends the picture, shows the answer, takes a correction. No library, no build step.
"use strict";

const PEN = 1 / 15; // of the paper's side
const WAIT = 150; // milliseconds from a lifted pen to the question
const STEP = 1 / 28; // of the paper's side: what an arrow key moves the pen

const $ = (id) => document.getElementById(id);
const paper = $("paper");
const ink = paper.getContext("2d", { willReadFrequently: true });
const DIGITS = { kind: "digits", shape: [28, 28], classes: [..."0123456789"] };
const MOST = 10; // bars: of more classes, the likeliest
let images = DIGITS; // what the model takes and tells apart
let bars = [];

let stroke = null; // the last point of the stroke that is being drawn
let finger = null; // the pointer that draws it
const START = { x: 0.5, y: 0.3, down: false };
let pen = { ...START }; // of the keyboard
let drawn = false;
let timer = 0;
let asked = 0; // counts questions, so that a late answer to an earlier one is not shown
let answered = null;
let placed = { left: 0, top: 0, scale: 1 }; // of a photo's pixels on the paper

// ---- drawing

function clear() {
  pen = { ...START };
  showPen();
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, paper.width, paper.height);
  drawn = false;
  placed = { left: 0, top: 0, scale: 1 };
  asked += 1;
  clearTimeout(timer);
  $("hint").hidden = false;
  show(null, draws() ? "Nothing is drawn yet." : "No photo is there yet.");
}

function draws() {
  return images.kind === "digits";
}

function ofDigits() {
  return draws() && images.classes.join() === DIGITS.classes.join();
}

function line(from, to) {
  ink.strokeStyle = "#111";
  ink.lineWidth = PEN * paper.width;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(from.x * paper.width, from.y * paper.height);
  ink.lineTo(to.x * paper.width, to.y * paper.height);
  ink.stroke();
  if (!drawn) say("Lift the pen, and it is read.");
  drawn = true;
  $("hint").hidden = true;
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

function askSoon() {
  clearTimeout(timer);
  if (!drawn) return;
  say("Reading…");
  timer = setTimeout(askDrawn, WAIT);
}

function askDrawn() {
  const question = (asked += 1);
  paper.toBlob((picture) => question === asked && ask(picture), "image/png");
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || stroke || !draws()) return;
  finger = event.pointerId;
  paper.setPointerCapture(event.pointerId);
  clearTimeout(timer);
  unframe();
  stroke = place(event);
  line(stroke, stroke);
});

paper.addEventListener("pointermove", (event) => {
  if (!stroke || event.pointerId !== finger) return;
  const between = event.getCoalescedEvents?.() ?? [];
  for (const each of between.length ? between : [event]) {
    const next = place(each);
    line(stroke, next);
    stroke = next;
  }
});

for (const end of ["pointerup", "pointercancel"]) {
  paper.addEventListener(end, (event) => {
    if (!stroke || event.pointerId !== finger) return;
    stroke = null;
    askSoon();
  });
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

paper.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || !draws()) return;
  if (event.key in MOVES) {
    const [x, y] = MOVES[event.key];
    const next = { ...pen, x: clamp(pen.x + x * STEP), y: clamp(pen.y + y * STEP) };
    if (pen.down) line(pen, next);
    pen = next;
  } else if (event.key === " ") {
    pen.down = !pen.down;
    if (pen.down) line(pen, pen);
    else askSoon();
  } else if (event.key === "Enter") {
    pen.down = false;
    askSoon();
  } else if (event.key === "Escape") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
  showPen();
  say(`Pen ${pen.down ? "down" : "up"}, ${Math.round(100 * pen.x)} percent across, ${Math.round(100 * pen.y)} down.`);
});

function showPen() {
  $("pen").style.left = `${100 * pen.x}%`;
  $("pen").style.top = `${100 * pen.y}%`;
  $("pen").classList.toggle("down", pen.down);
}

function clamp(value) {
  return Math.min(Math.max(value, 0.05), 0.95);
}

// ---- photos

async function take(file) {
  if (!file) return;
  clear();
  if (file.type && !file.type.startsWith("image/")) {
    return show(null, `${file.name} is no picture: choose a PNG, JPEG, GIF, WebP, BMP or TIFF.`, true);
  }
  const question = asked;
  $("hint").hidden = true;
  try {
    const picture = await createImageBitmap(file);
    if (question !== asked) return;
    const scale = Math.min(paper.width / picture.width, paper.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    placed = { left: (paper.width - width) / 2, top: (paper.height - height) / 2, scale };
    ink.drawImage(picture, placed.left, placed.top, width, height);
  } catch {
    // What the browser cannot show the service may still read, and says so if not.
  }
  if (question === asked) ask(file);
}

$("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => take([...event.clipboardData.files][0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
$("clear").addEventListener("click", clear);

// ---- asking and showing

// A picture without a single digit is asked about once more, for every digit on it.
async function ask(picture, first = null) {
  const question = (asked += 1);
  try {
    const response = await fetch(first ? "/predict?all=true" : "/predict?image=true&challenger=true", {
      method: "POST",
      body: picture,
      headers: { "Content-Type": picture.type || "application/octet-stream" },
    });
    const content = await response.json();
    if (question !== asked) return;
    if (!response.ok) return show(null, content.detail, true);
    await card(content.version, content.challenger?.version); // whose classes these are
    if (question !== asked) return;
    if (first && content.answers.filter((answer) => answer.box).length > 1) return showAll(content.answers);
    if (!first && draws() && !content.answers[0].probabilities) return ask(picture, content);
    show(first ?? content);
  } catch {
    if (question === asked) show(null, "The service does not answer: is it still running?", true);
  }
}

function percent(share) {
  return share > 0.9995 ? "100%" : `${(100 * share).toFixed(1)}%`;
}

function show(content, words, wrong = false) {
  unframe();
  const answer = content?.answers[0];
  const best = answer ? place_of(answer) : null;
  const found = best !== null;
  const weighed = Boolean(answer?.probabilities); // by the model, which may have its doubts
  answered = weighed ? answer : null;
  $("digit").textContent = found ? images.classes[best] : "?";
  $("digit").classList.toggle("word", found && images.classes[best].length > 1);
  $("digit").classList.toggle("none", !found);
  say(words ?? (found ? sentence(answer, content.challenger) : `${capital(answer.reason)}.`), wrong);
  $("seen").hidden = !answer?.image;
  if (answer?.image) small(answer.image);
  const rival = weighed && content.challenger ? content.challenger.probabilities[0] : null;
  $("legend").hidden = !rival;
  if (rival) {
    $("legend").querySelector(".champion").textContent = `champion, version ${content.version}`;
    $("legend").querySelector(".challenger").textContent = `challenger, version ${content.challenger.version}`;
  }
  $("correct").hidden = !weighed;
  $("ask").textContent = found ? "Wrong? Tap what it is. Right? Tap it too." : "Is it one of them? Tap which.";
  $("doubted").hidden = !weighed || found;
  $("bars").classList.toggle("doubted", weighed && !found);
  if (weighed && images.classes.length > MOST) likeliest(answer.probabilities);
  bars.forEach((bar) => bar.set(weighed ? answer.probabilities[bar.label] : null, rival?.[bar.label], bar.label === best));
}

// The place among the classes of what an answer, or its second choice, says; null if that is nothing.
function place_of(choice) {
  return choice.digit ?? choice.index ?? null;
}

// A class as a sentence has it: a 7, or cat.
function a(label) {
  return ofDigits() ? `${label === 8 ? "an" : "a"} ${images.classes[label]}` : images.classes[label];
}

// A frame around each of several digits, and all of them as they are read.
function showAll(answers) {
  const found = answers.filter((answer) => place_of(answer) !== null);
  const [one, more] = ofDigits() ? ["digit", "digits"] : ["sign", "signs"];
  show(null, found.length ? `It shows ${found.length} ${more}.` : `No ${one} is clear enough to be read.`);
  const name = (answer) => images.classes[place_of(answer)] ?? "?";
  $("digit").textContent = found.map(name).join("") || "?";
  $("digit").classList.toggle("none", !found.length);
  $("digit").classList.toggle("word", found.length > 1);
  for (const answer of answers.filter((each) => each.box)) {
    const { left, top, width, height } = answer.box;
    const frame = Object.assign(document.createElement("span"), { className: "found" });
    const share = (length, offset) => `${(100 * (length * placed.scale + offset)) / paper.width}%`;
    [frame.style.left, frame.style.top] = [share(left, placed.left), share(top, placed.top)];
    [frame.style.width, frame.style.height] = [share(width, 0), share(height, 0)];
    frame.dataset.digit = name(answer);
    frame.title = answer.reason ?? percent(answer.confidence);
    $("sheet").append(frame);
  }
}

function unframe() {
  document.querySelectorAll(".found").forEach((frame) => frame.remove());
}

function sentence(answer, challenger) {
  const { confidence, second } = answer;
  const label = place_of(answer);
  let text = `It is ${a(label)}, ${percent(confidence)} sure`;
  text += second.confidence >= 0.001 ? `; else ${a(place_of(second))} (${percent(second.confidence)}).` : ".";
  if (challenger) {
    const rival = challenger.probabilities[0];
    const other = rival.indexOf(Math.max(...rival));
    text += other === label ? " The challenger agrees." : ` The challenger says ${images.classes[other]}.`;
  }
  return text;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function say(words, wrong = false) {
  $("words").textContent = words;
  $("words").classList.toggle("wrong", wrong);
}

function small(encoded) {
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  const [height, width, colours = 1] = images.shape;
  const pixels = new ImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    const levels = colours === 1 ? Array(3).fill(bytes[at]) : bytes.subarray(3 * at, 3 * at + 3);
    pixels.data.set([...levels, 255], 4 * at);
  }
  [$("small").width, $("small").height] = [width, height];
  $("small").getContext("2d").putImageData(pixels, 0, 0);
}

function bar(label) {
  const name = images.classes[label];
  const button = document.createElement("button");
  button.type = "button";
  button.disabled = true;
  button.innerHTML = `<span class="name"></span><span class="track"><span class="bar"></span><span class="bar challenger" hidden></span></span><span class="share"></span>`;
  button.querySelector(".name").textContent = name;
  const [first, rival] = button.querySelectorAll(".bar");
  button.addEventListener("click", () => correct(label, button));
  $("bars").append(button);
  return {
    label,
    set(share, rivals, best) {
      button.disabled = share === null;
      button.classList.toggle("first", best);
      button.classList.remove("kept");
      first.style.width = `${100 * (share ?? 0)}%`;
      rival.hidden = rivals === undefined;
      rival.style.width = `${100 * (rivals ?? 0)}%`;
      button.querySelector(".share").textContent = share === null ? "" : percent(share);
      button.setAttribute("aria-label", share === null ? name : `${name}: ${percent(share)}. Say that it is ${a(label)}.`);
    },
  };
}

// The bars of the likeliest classes, and all to choose from.
function likeliest(probabilities) {
  const ranked = probabilities.map((share, label) => [share, label]).sort((one, other) => other[0] - one[0] || one[1] - other[1]);
  fill(ranked.slice(0, MOST).map(([, label]) => label));
}

function fill(labels) {
  $("bars").replaceChildren();
  $("bars").classList.toggle("named", images.classes.some((name) => name.length > 2));
  bars = labels.map(bar);
}

// Keep a person's word on the image that was answered; whether it was.
async function keep(word) {
  const response = await fetch("/corrections", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id: answered.id, ...word }),
  }).catch(() => null);
  if (!response?.ok) {
    const content = response ? await response.json() : { detail: "The service does not answer: is it still running?" };
    say(content.detail, true);
    return false;
  }
  document.querySelectorAll("#bars .kept").forEach((other) => other.classList.remove("kept"));
  return true;
}

async function correct(label, button) {
  if (!answered) return;
  const given = place_of(answered);
  if (!(await keep("digit" in answered ? { digit: label } : { index: label }))) return;
  button?.classList.add("kept");
  $("digit").textContent = images.classes[label];
  $("digit").classList.remove("none");
  if (label === given) return say(`Thank you: kept as ${a(label)}.`);
  say(`Thank you: kept as ${a(label)}${given === null ? "" : `, not ${a(given)}`}. It can be trained on.`);
}

$("none").addEventListener("click", async () => {
  if (!answered || !(await keep({ none: true }))) return;
  $("digit").textContent = "?";
  $("digit").classList.add("none");
  say(`Thank you: kept as ${ofDigits() ? "no digit" : "none of them"}. It is not trained on.`);
});

// ---- who answers

let carded = []; // the versions whose card is shown

async function card(...versions) {
  if (versions[0] === carded[0] && versions[1] === carded[1]) return;
  const response = await fetch("/model").catch(() => null);
  if (!response?.ok) return say(response ? (await response.json()).detail : "The service does not answer.", true);
  const { champion, challenger, shadow, images: told } = await response.json();
  become(told);
  carded = [champion.version, challenger?.version];
  const day = new Date(champion.created).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const facts = [
    ["Champion", `${champion.model}, version ${champion.version}`],
    ["Test accuracy", `${(100 * champion.metrics.accuracy).toFixed(2)}% of ${champion.metrics.n_test.toLocaleString()} images`],
    ["Trained", day],
    ["From", `${champion.lineage.dataset}, recipe ${champion.lineage.recipe}`],
  ];
  if (challenger) {
    facts.push(["Challenger", `version ${challenger.version}, ${(100 * challenger.metrics.accuracy).toFixed(2)}%`]);
    if (shadow?.compared) facts.push(["They differ on", `${shadow.differ} of ${shadow.compared} images seen here`]);
  }
  $("facts").replaceChildren(
    ...facts.map(([term, text]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: term }));
      pair.append(Object.assign(document.createElement("dd"), { textContent: text }));
      return pair;
    }),
  );
  $("card").hidden = false;
}

// ---- what the model tells apart

// Show what images of this form need: paper to draw on or room for a photo, and their classes.
function become(told) {
  if (JSON.stringify(told) === JSON.stringify(images)) return;
  const drew = draws();
  images = told;
  $("hint").innerHTML = draws() ? "with mouse, finger or pen,<br>or drop or paste a photo" : "drop, paste or choose a photo";
  $("small").setAttribute("aria-label", `The ${images.shape[1]} by ${images.shape[0]} pixels that the network saw`);
  offer();
  const choices = ["Another…", ...images.classes].map((name, at) => new Option(name, at - 1));
  $("others").replaceChildren(...choices);
  $("others").hidden = images.classes.length <= MOST;
  if (drew !== draws()) clear();
}

// Show the classes, and the way to say that it is none of them.
function offer() {
  $("none").textContent = ofDigits() ? "No digit" : "None of them";
  fill([...images.classes.keys()].slice(0, MOST));
}

$("others").addEventListener("change", (event) => {
  if (event.target.value >= 0) correct(Number(event.target.value), null);
  event.target.value = -1;
});

offer();
clear();
card(null);
