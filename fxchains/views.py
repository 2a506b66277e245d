from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from . import editing
from .effects.catalogue import EFFECTS, MAX_STEPS, ChainError
from .forms import AddStepForm, BypassForm, ChainForm, MoveForm, StepForm
from .models import FxChain, FxStep


@login_required
@require_GET
def chain_list(request):
    return _render_list(request, ChainForm())


@login_required
@require_POST
def chain_create(request):
    form = ChainForm(request.POST)
    if not form.is_valid():
        return _render_list(request, form, status=422)
    chain = editing.create_chain(request.user, **form.cleaned_data)
    return redirect("fxchains:detail", chain.pk)


@login_required
@require_POST
def chain_copy(request, pk):
    source = get_object_or_404(FxChain.objects.visible_to(request.user), pk=pk)
    chain = editing.copy_chain(request.user, source)
    messages.success(request, f"This is your own copy, “{chain.name}”.")
    return redirect("fxchains:detail", chain.pk)


@login_required
@require_GET
def chain_detail(request, pk):
    chain = get_object_or_404(FxChain.objects.visible_to(request.user), pk=pk)
    return _render_chain(request, chain)


@login_required
@require_POST
def chain_describe(request, pk):
    chain = _own_chain(request, pk)
    form = ChainForm(request.POST)
    if not form.is_valid():
        return _render_chain(request, chain, chain_form=form, status=422)
    _edit(editing.describe_chain, chain, **form.cleaned_data)
    messages.success(request, "Saved.")
    return redirect("fxchains:detail", chain.pk)


@login_required
@require_POST
def chain_delete(request, pk):
    chain = _own_chain(request, pk)
    _edit(editing.delete_chain, chain)
    messages.success(request, f"“{chain.name}” is deleted.")
    return redirect("fxchains:list")


@login_required
@require_POST
def step_add(request, pk):
    chain = _own_chain(request, pk)
    form = AddStepForm(request.POST)
    if form.is_valid():
        try:
            _edit(editing.add_step, chain, form.cleaned_data["effect"])
        except ChainError as error:
            form.add_error(None, str(error))
    return _answer_rack(request, chain, add_form=None if form.is_valid() else form)


@login_required
@require_POST
def step_update(request, pk):
    step = _own_step(request, pk)
    form = StepForm(step.kind, request.POST, auto_id=f"step-{pk}-%s")
    if form.is_valid():
        _edit(editing.update_step, step, form.cleaned_data)
    if request.htmx:
        context = {"form": form, "saved": form.is_valid()}
        return render(request, "fxchains/chain_detail.html#saved", context)
    if form.is_valid():
        return redirect(f"{_chain_url(step.chain)}#step-{pk}")
    return _render_chain(request, step.chain, bound={step.pk: form}, status=422)


@login_required
@require_POST
def step_bypass(request, pk):
    step = _own_step(request, pk)
    form = BypassForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("bypassed must be true or false")
    _edit(editing.bypass_step, step, form.cleaned_data["bypassed"])
    return _answer_rack(request, step.chain, at=step)


@login_required
@require_POST
def step_move(request, pk):
    step = _own_step(request, pk)
    form = MoveForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("direction must be up or down")
    _edit(editing.move_step, step, form.cleaned_data["direction"])
    return _answer_rack(request, step.chain, at=step)


@login_required
@require_POST
def step_remove(request, pk):
    step = _own_step(request, pk)
    _edit(editing.remove_step, step)
    return _answer_rack(request, step.chain)


def _own_chain(request, pk):
    return get_object_or_404(FxChain.objects.owned_by(request.user), pk=pk)


def _own_step(request, pk):
    steps = FxStep.objects.select_related("chain").filter(chain__user=request.user)
    return get_object_or_404(steps, pk=pk)


def _edit(operation, *args, **kwargs):
    try:
        operation(*args, **kwargs)
    except editing.ChainNotEditable as error:
        raise Http404 from error


def _chain_url(chain):
    return redirect("fxchains:detail", chain.pk).url


def _answer_rack(request, chain, *, at=None, add_form=None):
    """The rack after a change: alone for htmx, by a redirect for a plain form."""
    if request.htmx:
        return _render_chain(request, chain, partial="#rack", add_form=add_form)
    if add_form is not None:
        return _render_chain(request, chain, add_form=add_form, status=422)
    return redirect(_chain_url(chain) + (f"#step-{at.pk}" if at else "#rack"))


def _render_list(request, form, status=200):
    chains = FxChain.objects.prefetch_related("steps")
    context = {
        "chains": chains.owned_by(request.user),
        "presets": chains.presets(),
        "form": form,
    }
    return render(request, "fxchains/chain_list.html", context, status=status)


def _render_chain(
    request,
    chain,
    *,
    partial="",
    chain_form=None,
    add_form=None,
    bound=None,
    status=200,
):
    rows = [_row(step, (bound or {}).get(step.pk)) for step in chain.steps.all()]
    context = {
        "chain": chain,
        "rows": rows,
        "chain_form": chain_form or ChainForm(instance=chain),
        "add_form": add_form or AddStepForm(),
        "is_full": len(rows) >= MAX_STEPS,
        "max_steps": MAX_STEPS,
        "effects": EFFECTS.values(),
        "song_count": chain.songs.filter(user=request.user).count(),
    }
    template = "fxchains/chain_detail.html" + partial
    return render(request, template, context, status=status)


def _row(step, form=None):
    values = step.kind.defaults | step.parameters
    return {
        "step": step,
        "form": form
        or StepForm(step.kind, initial=values, auto_id=f"step-{step.pk}-%s"),
        "settings": [
            (parameter, parameter.text(values[parameter.name]))
            for parameter in step.kind.in_use(values)
        ],
    }
