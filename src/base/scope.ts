/** Something that must be given back, whatever happens in between. */
type Release = () => unknown

/**
 * What a piece of work has taken and must give back: released last-in-first-out, all of it even when one
 * release fails; the failures are thrown together at the end. (AsyncDisposableStack, absent in Node 20.)
 */
export class Scope implements AsyncDisposable {
  readonly #releases: Release[] = []

  /** Takes `thing`; `release` gives it back. Returns `thing`. */
  add<T>(thing: T, release: (thing: T) => unknown): T {
    this.#releases.push(() => release(thing))
    return thing
  }

  /** Takes anything that knows how to dispose of itself. */
  use<T extends AsyncDisposable>(thing: T): T {
    return this.add(thing, (taken) => taken[Symbol.asyncDispose]())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (let release = this.#releases.pop(); release; release = this.#releases.pop()) {
      try {
        await release()
      } catch (failure) {
        failures.push(failure)
      }
    }
    if (failures.length === 1) throw failures[0]
    if (failures.length > 1) throw new AggregateError(failures, 'several things could not be closed')
  }
}
