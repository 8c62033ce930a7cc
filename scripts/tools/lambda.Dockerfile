# A stand-in for public.ecr.aws/lambda/python:3.13-x86_64.
# aws-sam-cli adds the runtime interface emulator itself.
FROM python:3.13-slim
LABEL sam-compat.stand-in=true
RUN pip install --no-cache-dir --root-user-action=ignore awslambdaric boto3
ENV LANG=C.UTF-8 LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime
ENV PYTHONPATH=/var/task:/opt/python
WORKDIR /var/task
RUN mkdir -p /var/runtime \
 && printf '#!/bin/sh\nexec python3 -m awslambdaric "$_HANDLER"\n' >/var/runtime/bootstrap \
 && chmod +x /var/runtime/bootstrap
ENTRYPOINT ["/var/runtime/bootstrap"]
