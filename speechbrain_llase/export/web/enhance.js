// Enhance speech with exported networks: what enhance.py does, in a browser.
//
// A worker: it takes {samples: Float32Array} at the model's rate and answers
// {done, all} while it works, then {wave: Float32Array, seconds}, or {error}.
// Nothing leaves the machine.
import * as ort from "./ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated
  ? Math.min(4, navigator.hardwareConcurrency || 1)
  : 1;

class ExportedModel {
  static async open() {
    const model = new ExportedModel();
    model.settings = await (await fetch("settings.json")).json();
    model.sessions = {};
    for (const name of model.settings.networks) {
      const options = { executionProviders: ["wasm"] };
      const file = `${name}.onnx`;
      model.sessions[name] = await ort.InferenceSession.create(file, options);
    }
    return model;
  }

  // Float32Array (T,) to the same; progress is called with windows done, all.
  async enhance(noisy, progress) {
    const peak = largest(noisy);
    const windows = placeWindows(noisy.length, this.settings);
    const result = new Float32Array(noisy.length);
    if (!peak || !windows.length) return result;
    const heard = noisy.map((x) => x / peak);
    const pieces = [];
    for (const { samples } of windows) {
      pieces.push(await this.enhanceWindow(heard.subarray(...samples)));
      progress(pieces.length, windows.length);
    }
    const wav = joinWindows(pieces, windows, this.settings);
    result.set(wav.subarray(0, noisy.length));
    const scale = this.settings.keeps_level ? peak : 1;
    const most = Math.max(largest(result) * scale, 1e-12);
    const gain = scale * Math.min(1, Math.max(1, peak) / most);
    return result.map((x) => x * gain);
  }

  async enhanceWindow(noisy) {
    noisy = fitLength(noisy, Math.max(noisy.length, this.settings.min_samples));
    const feats = await this.run("frontend", noisy, [noisy.length]);
    const codes = await this.run("token_lm", feats.data, feats.dims);
    const { data: wav } = await this.run("vocoder", codes.data, codes.dims);
    if (!("refiner" in this.sessions)) return wav;
    const both = new Float32Array(2 * wav.length);
    both.set(wav);
    both.set(fitLength(noisy, wav.length), wav.length);
    return (await this.run("refiner", both, [2, wav.length])).data;
  }

  async run(network, data, dims) {
    const x = new ort.Tensor("float32", data, dims);
    return (await this.sessions[network].run({ x })).y;
  }
}

function largest(wav) {
  return wav.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}

function fitLength(wav, length) {
  const fitted = new Float32Array(length);
  fitted.set(wav.subarray(0, length));
  return fitted;
}

// As place_windows in enhance.py; all ranges in samples.
function placeWindows(numSamples, settings) {
  const { hop_length: hop, min_samples: least, context, reach } = settings;
  if (numSamples < least) return [];
  const rows =
    Math.floor((numSamples - least) / hop) + 1 + Number(settings.zero_row);
  const windows = [];
  for (let start = 0; start < rows; start += settings.window) {
    const stop = Math.min(start + settings.window, rows);
    const left = Math.min(context, start);
    const right = Math.min(context, rows - stop) * hop;
    let end = Math.min((stop + context) * hop + reach, numSamples);
    if (stop === rows) end = numSamples;
    const samples = [(start - left) * hop, end];
    const kept = [left * hop, (left + stop - start) * hop];
    windows.push({ kept, samples, right });
  }
  return windows;
}

// As join_windows in enhance.py.
function joinWindows(pieces, windows, settings) {
  const total = windows.reduce((sum, { kept }) => sum + kept[1] - kept[0], 0);
  const wav = new Float32Array(total);
  let at = 0;
  let leaving = new Float32Array(0);
  pieces.forEach((piece, k) => {
    const [start, stop] = windows[k].kept;
    let half = 0;
    if (k + 1 < windows.length) {
      const room = Math.min(windows[k].right, windows[k + 1].kept[0]);
      half = Math.min(Math.floor(settings.crossfade / 2), room);
    }
    const lead = leaving.length / 2;
    for (let i = 0; i < 2 * lead; i += 1) {
      const arriving = piece[start - lead + i];
      const fade = (i + 0.5) / (2 * lead);
      wav[at + i] = leaving[i] + fade * (arriving - leaving[i]);
    }
    at += 2 * lead;
    const body = piece.subarray(start + lead, stop - half);
    wav.set(body, at);
    at += body.length;
    leaving = piece.slice(stop - half, stop + half);
  });
  return wav;
}

let opened;

self.onmessage = async ({ data: { samples } }) => {
  try {
    opened ??= ExportedModel.open();
    const model = await opened;
    const start = performance.now();
    const tell = (done, all) => self.postMessage({ done, all });
    const wave = await model.enhance(samples, tell);
    const seconds = (performance.now() - start) / 1000;
    self.postMessage({ wave, seconds }, [wave.buffer]);
  } catch (error) {
    opened = undefined;
    self.postMessage({ error: String(error.message ?? error) });
  }
};
