// The page around enhance.js: choose a file, enhance it, listen, look.
const find = (id) => document.getElementById(id);
const worker = new Worker("enhance.js", { type: "module" });
const settings = fetch("settings.json").then((answer) => answer.json());
const FRAME = 512; // samples of a spectrum
const RANGE_DB = 70; // from black to white
const LEAST_KEPT = 0.5; // of the energy that the mean of unlike channels has

find("file").onchange = () => {
  find("go").disabled = !find("file").files.length;
  find("status").textContent = "Ready.";
};

find("go").onclick = async () => {
  const [file] = find("file").files;
  find("go").disabled = true;
  find("result").hidden = true;
  find("status").textContent = "Loading the networks…";
  try {
    const { sample_rate: rate } = await settings;
    const noisy = await decode(file, rate);
    const { wave, seconds } = await enhance(noisy);
    show("before", noisy, rate);
    find("download").href = show("after", wave, rate);
    find("result").hidden = false;
    const length = noisy.length / rate;
    const factor = (seconds / length).toFixed(3);
    find("status").textContent =
      `${length.toFixed(1)} s of audio in ${seconds.toFixed(1)} s: ` +
      `real-time factor ${factor}.`;
  } catch (error) {
    find("status").textContent = `This did not work: ${error.message}`;
  }
  find("go").disabled = false;
};

// What the browser can read, at the model's rate, its channels as one.
async function decode(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const numbers = [...Array(sound.numberOfChannels).keys()];
  return mixChannels(numbers.map((k) => sound.getChannelData(k)));
}

// As mix_channels in enhance.py: the mean, or the strongest where they cancel.
function mixChannels(channels) {
  const mean = new Float32Array(channels[0].length);
  for (const channel of channels)
    channel.forEach((x, i) => (mean[i] += x / channels.length));
  const energy = (wav) => wav.reduce((sum, x) => sum + x * x, 0);
  const energies = channels.map(energy);
  const total = energies.reduce((sum, x) => sum + x, 0);
  const kept = energy(mean) * channels.length;
  if (kept >= (LEAST_KEPT * total) / channels.length) return mean;
  return channels[energies.indexOf(Math.max(...energies))];
}

function enhance(samples) {
  return new Promise((resolve, reject) => {
    worker.onerror = () => reject(new Error("the program could not be loaded"));
    worker.onmessage = ({ data }) => {
      if (data.error) reject(new Error(data.error));
      else if (data.wave) resolve(data);
      else find("status").textContent = `Window ${data.done} of ${data.all}…`;
    };
    worker.postMessage({ samples });
  });
}

// Put a wave into a player and a picture; give its address as a file.
function show(id, wav, rate) {
  URL.revokeObjectURL(find(id).src);
  const blob = new Blob([encode(wav, rate)], { type: "audio/wav" });
  find(id).src = URL.createObjectURL(blob);
  draw(find(`${id}-picture`), wav);
  return find(id).src;
}

// A WAV file of 16 bits, scaled down where it is over full scale.
function encode(wav, rate) {
  const most = wav.reduce((x, y) => Math.max(x, Math.abs(y)), 1);
  const file = new DataView(new ArrayBuffer(44 + 2 * wav.length));
  const word = (at, text) =>
    [...text].forEach((x, i) => file.setUint8(at + i, x.charCodeAt(0)));
  word(0, "RIFF");
  file.setUint32(4, 36 + 2 * wav.length, true);
  word(8, "WAVEfmt ");
  file.setUint32(16, 16, true);
  file.setUint16(20, 1, true);
  file.setUint16(22, 1, true);
  file.setUint32(24, rate, true);
  file.setUint32(28, 2 * rate, true);
  file.setUint16(32, 2, true);
  file.setUint16(34, 16, true);
  word(36, "data");
  file.setUint32(40, 2 * wav.length, true);
  wav.forEach((x, i) =>
    file.setInt16(44 + 2 * i, Math.round((x / most) * 32767), true),
  );
  return file.buffer;
}

function draw(canvas, wav) {
  const columns = Math.max(1, Math.min(800, Math.floor(wav.length / FRAME)));
  const bins = FRAME / 2;
  Object.assign(canvas, { width: columns, height: bins });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, bins);
  for (let x = 0; x < columns; x += 1) {
    const start = Math.floor((x * (wav.length - FRAME)) / columns);
    powers(wav, Math.max(0, start)).forEach((power, k) => {
      const level = 1 + (10 * Math.log10(power + 1e-12)) / RANGE_DB;
      const at = 4 * ((bins - 1 - k) * columns + x);
      const light = 255 * Math.min(1, Math.max(0, level));
      image.data.set([light, light * 0.8, 96 - light * 0.2, 255], at);
    });
  }
  context.putImageData(image, 0, 0);
}

// Powers of a frame's bins (FRAME / 2), by a plain FFT; full scale is near 1.
function powers(wav, start) {
  let real = new Float64Array(FRAME);
  let imag = new Float64Array(FRAME);
  for (let i = 0; i < FRAME; i += 1) {
    const fade = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME);
    real[i] = (fade * (wav[start + i] ?? 0) * 4) / FRAME;
  }
  for (let half = FRAME / 2; half >= 1; half /= 2) {
    const [before, beside] = [real, imag]; // of the last pass (Stockham)
    real = new Float64Array(FRAME);
    imag = new Float64Array(FRAME);
    const size = FRAME / 2 / half;
    for (let k = 0; k < size; k += 1) {
      const angle = (-Math.PI * k) / size;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let j = 0; j < half; j += 1) {
        const [one, two] = [2 * k * half + j, 2 * k * half + j + half];
        const re = before[two] * c - beside[two] * s;
        const im = before[two] * s + beside[two] * c;
        real[k * half + j] = before[one] + re;
        imag[k * half + j] = beside[one] + im;
        real[(k + size) * half + j] = before[one] - re;
        imag[(k + size) * half + j] = beside[one] - im;
      }
    }
  }
  return real.slice(0, FRAME / 2).map((x, k) => x * x + imag[k] * imag[k]);
}
