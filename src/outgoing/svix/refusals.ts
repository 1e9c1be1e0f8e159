import { refuse } from '../../errors.ts';
import type { SvixAnswer } from './account.ts';
import type { SvixFailure } from './answers.ts';
import { describeSvixFailure } from './failures.ts';

/** What a failure of Svix means for the caller of our API. */

/**
 * The result of a call with a body, which Svix may refuse; null if the id does not exist there.
 * @throws {RefusalError} SVIX_REFUSES, SVIX_HAS_IT, SVIX_BUSY, SVIX_UNAVAILABLE
 */
export function acceptedBySvix<T>(answer: SvixAnswer<T>): T | null {
  if (answer.ok) return answer.value;
  const { failure } = answer;
  if (failure.kind === 'refused') {
    return refuse({ code: 'SVIX_REFUSES', detail: failure.detail });
  }
  return failure.kind === 'notFound' ? null : refuseFor(failure);
}

/**
 * The result of a call that names only ids; null if they do not exist at Svix or have no valid form.
 * @throws {RefusalError} SVIX_HAS_IT, SVIX_BUSY, SVIX_UNAVAILABLE
 */
export function foundBySvix<T>(answer: SvixAnswer<T>): T | null {
  if (answer.ok) return answer.value;
  const { failure } = answer;
  return failure.kind === 'notFound' || failure.kind === 'refused' ? null : refuseFor(failure);
}

/** A refusal that says who has to do what. @throws {RefusalError} SVIX_HAS_IT, SVIX_BUSY or SVIX_UNAVAILABLE, always */
export function refuseFor(failure: SvixFailure): never {
  switch (failure.kind) {
    case 'conflict':
      return refuse({ code: 'SVIX_HAS_IT' });
    case 'rateLimited':
      return refuse({ code: 'SVIX_BUSY', retryAfterSeconds: failure.retryAfterSeconds });
    default:
      return refuse({
        code: 'SVIX_UNAVAILABLE',
        problem: describeSvixFailure(failure, 'Svix, which keeps the webhook endpoints,'),
      });
  }
}

/** @throws {RefusalError} SVIX_UNAVAILABLE, always */
export function svixUnavailable(): never {
  return refuse({ code: 'SVIX_UNAVAILABLE', problem: null });
}
