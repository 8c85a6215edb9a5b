/** What ssh goes by for one host, as `ssh -G` prints it: one keyword and its value a line. */
export class SshConfig {
  readonly #lines = new Map<string, string[]>()

  /** @param output of `ssh -G`; empty where ssh is not installed */
  constructor(output: string) {
    for (const line of output.split('\n')) {
      const [, keyword, value] = /^(\S+) (.*)$/u.exec(line) ?? []
      if (keyword === undefined || value === undefined) continue
      const values = this.#lines.get(keyword.toLowerCase())
      if (values) values.push(value)
      else this.#lines.set(keyword.toLowerCase(), [value])
    }
  }

  /** The values of a keyword (lower case) that may come several times. */
  all(keyword: string): readonly string[] {
    return this.#lines.get(keyword) ?? []
  }

  /** The value of a keyword (lower case); undefined where ssh has none. */
  one(keyword: string): string | undefined {
    return this.all(keyword)[0]
  }

  /** The value of a keyword for which ssh takes `none` to mean that there is none. */
  unlessNone(keyword: string): string | undefined {
    const value = this.one(keyword)
    return value?.toLowerCase() === 'none' ? undefined : value
  }

  /** Whether a flag is on; some print `true` where others print `yes`. */
  says(keyword: string, ...words: string[]): boolean {
    return [...words, 'yes', 'true'].includes(this.one(keyword) ?? '')
  }

  /** A whole number of at least `least`; undefined where there is none. */
  number(keyword: string, least: number): number | undefined {
    const value = Number(this.one(keyword))
    return Number.isInteger(value) && value >= least ? value : undefined
  }
}
