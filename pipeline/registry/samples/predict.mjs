// Says what is on images, in a browser or in Node.
//
//   npm install onnxruntime-web
//   node predict.mjs            answers the images of example.json, and compares with what the model answered
//
// In a page: open(await (await fetch("model.onnx")).arrayBuffer(), await (await fetch("form.json")).json()). An image is
// one byte a pixel, row by row; of handwriting 0 is paper and 255 is ink, framed as MNIST's digits are (the function
// `inked` of predict.py), of colour pictures three bytes a pixel.
import * as ort from "onnxruntime-web";

const BELIEVED = 0.5; // a certainty below this: it is none of the classes, or not clear which

export async function open(model, form) {
  return { form, session: await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] }) };
}

// images: Uint8Array of count images, one after the other. One answer an image.
export async function classify({ form, session }, images, count) {
  const tensor = new ort.Tensor("uint8", images, [count, ...form.shape]);
  const found = await session.run({ images: tensor });
  const size = form.classes.length;
  return Array.from({ length: count }, (_, i) => {
    const probabilities = found.probabilities.data.slice(i * size, (i + 1) * size);
    const certainty = found.certainty ? found.certainty.data[i] : 1;
    const label = form.classes[probabilities.indexOf(Math.max(...probabilities))];
    return { label, sure: certainty >= BELIEVED, certainty, probabilities };
  });
}

async function example() {
  const { readFile } = await import("node:fs/promises");
  const read = (name) => readFile(new URL(name, import.meta.url));
  const [form, { images, probabilities }] = (await Promise.all([read("form.json"), read("example.json")])).map(JSON.parse);
  const model = await open(await read("model.onnx"), form);
  const answers = await classify(model, Uint8Array.from(images.flat(Infinity)), images.length);
  let largest = 0;
  answers.forEach((answer, i) => {
    probabilities[i].forEach((value, k) => (largest = Math.max(largest, Math.abs(value - answer.probabilities[k]))));
    console.log(`image ${i + 1}: ${answer.label}${answer.sure ? "" : " (not sure)"}`);
  });
  console.log(`largest difference to the recorded answers: ${largest.toExponential(1)}`);
  if (!(largest <= 1e-4)) process.exitCode = 1;
}

if (typeof process !== "undefined" && process.argv?.[1] && import.meta.url.endsWith(process.argv[1].split("/").pop())) {
  await example();
}
