"""What runs inside the sandbox's own processes. Standard library only; nothing here knows of items or models.

    front end (validators.code.sandbox, asyncio, any threads)
      └─ launcher   exec'd, single-threaded: preloads, leaves root, makes the namespaces
         └─ zygote  PID 1 of its own pid namespace, in a private read-only root
            └─ one fork per program: limits, Landlock, closed descriptors, seccomp, then exec()

Nothing that a program can write to is ever parsed: how it ended comes from wait4, what it printed from
pipes with a cap.
"""
