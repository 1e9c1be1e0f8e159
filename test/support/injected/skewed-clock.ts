/**
 * Loaded into a process of the service by `--import` (../injection.ts): its time of day is CLOCK_SKEW_MS off, for every
 * line of ours and of every package. Timers and `performance` go on as before, as with a machine whose clock is wrong.
 */
const skewMs = Number(process.env.CLOCK_SKEW_MS);
if (!Number.isInteger(skewMs)) throw new Error('CLOCK_SKEW_MS wants milliseconds');

const now = (): number => RealDate.now() + skewMs;
const RealDate = Date;

globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  // Called as a function, Date gives the present time as text.
  apply: () => new RealDate(now()).toString(),
  get: (target, name, receiver) => (name === 'now' ? now : Reflect.get(target, name, receiver)),
});
