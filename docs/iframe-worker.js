/* Search in pages that were opened from a folder: browsers start no workers
   there, so the worker's script runs in a hidden frame instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      this.inside = frame.contentWindow;
      this.inside.postMessage = (data) => this.hand(this, data);
      this.inside.importScripts = (...urls) =>
        urls.reduce((last, next) => last.then(() => this.run(next)), Promise.resolve());
      this.ready = this.run(url);
      this.frame = frame;
    }

    hand(target, data) {
      target.dispatchEvent(new MessageEvent("message", { data }));
    }

    run(url) {
      return new Promise((resolve, reject) => {
        const script = this.inside.document.createElement("script");
        script.src = url;
        script.onload = resolve;
        script.onerror = reject;
        this.inside.document.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.hand(this.inside, data));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
