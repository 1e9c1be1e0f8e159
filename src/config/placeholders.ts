import { isPlaceholder, STILL_PLACEHOLDER } from '../providers/secret-form.ts';

/** Texts of the operator's own, which may hold anything. */
const OWN_TEXTS: ReadonlySet<string> = new Set(['MERCHANT_NAME', 'OTEL_SERVICE_NAME', 'DATA_DIR']);

/** The variable that a problem is about. */
export const nameIn = (problem: string): string => problem.slice(0, problem.indexOf(':'));

/** The problems, where a variable that is still as `.env.example` shows it has that problem, and no other. */
export function withPlaceholders(
  names: readonly string[],
  set: Readonly<Record<string, string>>,
  problems: readonly string[],
): readonly string[] {
  const isLeft = (value = '') => [value, ...value.split(',')].some((part) => isPlaceholder(part.trim()));
  const left = names.filter((name) => !OWN_TEXTS.has(name) && isLeft(set[name]));
  const others = problems.filter((problem) => !left.includes(nameIn(problem)));
  return [...left.map((name) => `${name}: ${STILL_PLACEHOLDER}`), ...others];
}
