/**
 * Numbers for routes that outlive changes of the file: a name keeps its id for as long as the process runs, so that counters,
 * cancel keys and resumable sessions go on, and no session is ever reported under another route's name.
 */

/** Gives ids from 0, in the order in which names are first seen. */
export class RouteIds {
  /** By id; grows. */
  readonly names: string[] = [];
  readonly #ids = new Map<string, number>();

  /** The id of the route with this name. */
  idOf(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) {
      return known;
    }
    const id = this.names.push(name) - 1;
    this.#ids.set(name, id);
    return id;
  }
}
