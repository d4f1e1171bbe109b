/** The log of a proxy under soak: which connections were accepted, which are closed, and the bytes of the sessions that matter. */

/** @typedef {{ bytesIn: number, bytesOut: number, reason: string, faultSide: string | null, isTold: boolean }} Closed */

/** Reads log lines one by one. Identical failures are folded by the logger: then one line stands for `repeated` of them. */
export class SessionsLog {
  accepted = 0;
  closed = 0;
  /** By reason. @type {Map<string, number>} */
  reasons = new Map();
  /** Of the sessions that have a user, by route and user. @type {Map<string, Closed>} */
  sessions = new Map();
  /** What should not be there at all. @type {string[]} */
  problems = [];
  /** Connections that were accepted, less those whose close has a line of its own. @type {Set<string>} */
  #open = new Set();
  #folded = 0;

  /** @param {Record<string, any>} line */
  read(line) {
    if (line.event === 'conn.accept') {
      this.accepted += 1;
      this.#open.add(String(line.connection_id));
    } else if (line.event === 'conn.close') {
      this.#close(line);
    } else if (
      line.event === 'worker.restart' ||
      line.event === 'listener.accept' ||
      line.level >= 50
    ) {
      this.#problem(JSON.stringify(line));
    }
  }

  /** Accepted connections of which no line tells that they were closed; exact once the logger was flushed. */
  unaccounted() {
    return this.#open.size - this.#folded;
  }

  /** @param {Record<string, any>} line */
  #close(line) {
    const count = line.repeated ?? 1;
    this.closed += count;
    this.reasons.set(line.reason, (this.reasons.get(line.reason) ?? 0) + count);
    // Of a folded line's connections only the last is named.
    this.#folded += count - 1;
    if (!this.#open.delete(String(line.connection_id))) {
      this.#problem(`closed twice, or never accepted: ${JSON.stringify(line)}`);
    }
    if (['panic', 'worker_lost', 'responder_lost'].includes(line.reason)) {
      this.#problem(JSON.stringify(line));
    }
    if (line.user !== undefined && line.is_cancel === undefined) {
      this.sessions.set(`${line.route} ${line.user}`, {
        bytesIn: line.bytes_in,
        bytesOut: line.bytes_out,
        reason: line.reason,
        faultSide: line.fault_side ?? null,
        isTold: line.sqlstate !== undefined,
      });
    }
  }

  /** @param {string} text */
  #problem(text) {
    if (this.problems.length < 20) {
      this.problems.push(text);
    }
  }
}
