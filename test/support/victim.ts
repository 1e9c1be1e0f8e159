/** Whom an attack must not hurt: calls one after another, timed alone and then while the attack goes on. */
export class Victim {
  readonly #call: () => Promise<void>;
  #aloneMs = Number.NaN;
  readonly #underAttackMs: number[] = [];

  /** @param call fails if the victim is not served */
  constructor(call: () => Promise<void>) {
    this.#call = call;
  }

  async alone(calls = 100): Promise<void> {
    for (let warm = 0; warm < 10; warm += 1) await this.#call();
    const timesMs: number[] = [];
    while (timesMs.length < calls) timesMs.push(await this.#timed());
    this.#aloneMs = p99Of(timesMs);
  }

  /** Calls until the attack is over, and a few times at least. @throws whatever the first call that failed threw */
  async during(attack: Promise<unknown>, leastCalls = 20): Promise<void> {
    let isOver = false;
    const ended = attack.finally(() => {
      isOver = true;
    });
    ended.catch(() => {});
    for (let calls = 0; !isOver || calls < leastCalls; calls += 1) this.#underAttackMs.push(await this.#timed());
    await ended;
  }

  /** Prints what the attack did to it. The figures are the machine's and prove nothing by themselves. */
  report(name: string): void {
    const p99 = p99Of(this.#underAttackMs);
    const figures = `p99 ${this.#aloneMs.toFixed(1)} ms alone, ${p99.toFixed(1)} ms under attack`;
    console.log(`${name}: ${figures} (${this.#underAttackMs.length} calls): ratio ${(p99 / this.#aloneMs).toFixed(1)}`);
  }

  async #timed(): Promise<number> {
    const startedMs = performance.now();
    await this.#call();
    return performance.now() - startedMs;
  }
}

function p99Of(timesMs: readonly number[]): number {
  const sorted = timesMs.toSorted((one, other) => one - other);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
}
