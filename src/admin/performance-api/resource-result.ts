import type { InstanceLabels } from '../../telemetry/instances/snapshot.js';
import type { ProblemStatus } from '../respond.js';

/** A problem that a resource responds with. */
export class ResourceProblem {
  readonly status: ProblemStatus;
  readonly detail: string;

  constructor(status: ProblemStatus, detail: string) {
    this.status = status;
    this.detail = detail;
  }
}

/** The figures of one resource. */
export interface ResourceFigures {
  /** The instance that they are of; `null`: of all. Absent: of the one that got the request. */
  readonly instance?: InstanceLabels | null;
  /** How long ago they were read, where another instance has published them. Seconds. */
  readonly ageSeconds?: number;
  /** Settings, versions and limits. */
  readonly stable: object;
  /** Figures that change all the time. */
  readonly volatile: object;
}
