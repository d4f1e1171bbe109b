/** Undoing what the demo started, last thing first, each step tried even when another failed. */
import { rmSync } from 'node:fs';

/** A stack of steps to undo; {@link Cleanup.run} runs each once, in reverse order of registration. */
export class Cleanup {
  readonly #steps: Array<() => void | Promise<void>> = [];

  /** Registers a step. */
  add(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  /** Registers the removal of a directory with all it contains. */
  removeDirectory(directory: string): void {
    this.add(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  }

  /** Runs all steps, then throws the first failure, if any. */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw failures[0];
    }
  }
}
