/**
 * How many rounds a test of a fault makes: `few` in `npm test`, `many` in `npm run test:faults`, which may take longer, and `all` in
 * `npm run test:all`, where those are more.
 */
export function rounds(few: number, many: number, all = many): number {
  if (process.env.FAULT_POINTS === 'all') return all;
  return process.env.FAULTS === 'all' ? many : few;
}

/**
 * Which statements of an operation a slow fault meets: one of every `step`, from a first one that is drawn (SEED repeats it); every one
 * by `npm run test:all`.
 */
export function drawnPoints(step: number): { readonly first: number; readonly step: number } {
  if (process.env.FAULT_POINTS === 'all') return { first: 1, step: 1 };
  return { first: (Number(process.env.SEED ?? Math.floor(Math.random() * step)) % step) + 1, step };
}
