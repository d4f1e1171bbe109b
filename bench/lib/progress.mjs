/** What is going on, on stderr: one line that is written over on a terminal, now and then a line elsewhere. */

const LINE_MILLIS = 10_000;

export class Progress {
  #expected = 0;
  #done = 0;
  #lastLine = 0;
  #start = Date.now();

  /** So many more steps. @param {number} steps */
  expect(steps) {
    this.#expected += steps;
  }

  /** A step begins. @param {string} what */
  step(what) {
    this.#done += 1;
    const line = `[${this.#elapsed()}] ${this.#done}/${this.#expected} ${what}`;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    } else if (Date.now() - this.#lastLine >= LINE_MILLIS) {
      this.#lastLine = Date.now();
      console.error(line);
    }
  }

  /** Something that stays. @param {string} text */
  note(text) {
    console.error(process.stderr.isTTY ? `\r\x1b[K${text}` : text);
  }

  #elapsed() {
    const seconds = Math.round((Date.now() - this.#start) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  }
}
